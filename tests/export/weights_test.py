"""Weights go out and come in again unchanged, by Flax's names or by PyTorch's."""

import json

import jax
import ml_collections
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from dtc_jax.errors import InputError, UsageError
from dtc_jax.experiment import network as network_lib
from dtc_jax.export import weights
from dtc_jax.runs import train


@pytest.fixture(scope="module")
def network(runs):
    return network_lib.load(runs / "classifier")


def config_of(runs, study, folder) -> ml_collections.ConfigDict:
    """That of the classifier, on the same data, to be given weights and no epochs."""
    fields = json.loads((runs / "classifier" / "config.json").read_text())
    config = ml_collections.ConfigDict(fields)
    config.data.update(manifest=str(study), folder=str(folder / "data"))
    config.train.epochs = 0
    return config


def leaves(trained) -> dict[str, np.ndarray]:
    named = jax.tree_util.tree_leaves_with_path(trained.variables)
    return {jax.tree_util.keystr(place): np.asarray(leaf) for place, leaf in named}


def in_pytorch(network) -> dict[str, np.ndarray]:
    """What the state_dict of a module in PyTorch would have."""
    layout = weights.pytorch_layout(network)
    arrays = {}
    for name, array in weights.named(network).items():
        there = np.ascontiguousarray(array.transpose(layout[name]["permute"]))
        if "/se/" in name and there.ndim == 2:  # a 1x1x1 convolution there
            there = there.reshape(*there.shape, 1, 1, 1)
        arrays[layout[name]["name"].removeprefix("0.")] = there
    return arrays | {"stem_norm.num_batches_tracked": np.array(3)}


@pytest.mark.parametrize("named", [weights.named, in_pytorch])
def test_a_file_is_read_as_it_was_written(runs, study, network, tmp_path, named):
    path = tmp_path / "model.safetensors"
    save_file(named(network), path)
    read = weights.read(path, config_of(runs, study, tmp_path))
    for one, other in zip(jax.tree.leaves(read), jax.tree.leaves(network.variables), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.extras
def test_a_file_and_no_epochs_make_a_run(runs, study, network, tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    path.write_bytes(weights.make(network, {}))
    config = config_of(runs, study, tmp_path)
    config.init_from = str(path)
    train.run(config, tmp_path / "run")
    assert "does not record which patients" in capsys.readouterr().out
    made = network_lib.load_with_threshold(tmp_path / "run", "classification")
    expected = leaves(network)
    assert leaves(made).keys() == expected.keys()
    for name, array in leaves(made).items():
        np.testing.assert_array_equal(array, expected[name])
    old, new = (
        pd.read_csv(folder / "predictions.csv").set_index("lesion_id").score
        for folder in (runs / "classifier", tmp_path / "run")
    )
    np.testing.assert_allclose(new[old.index], old, atol=1e-5)
    assert train.run(config, tmp_path / "run").metrics  # a finished run stays as it is


def test_files_that_cannot_be_used_are_refused(runs, study, network, tmp_path):
    config = config_of(runs, study, tmp_path)
    with pytest.raises(UsageError, match=r"config\.train\.epochs is 0; .*config\.init_from"):
        train.run(config, tmp_path / "run")
    path = tmp_path / "model.safetensors"
    config.init_from = str(path)
    with pytest.raises(InputError, match="no such file"):
        train.run(config, tmp_path / "run")
    path.write_text("not weights")
    with pytest.raises(InputError, match=r"config\.init_from: .*no safetensors file"):
        train.run(config, tmp_path / "run")
    save_file({"something.else": np.zeros(3, np.float32)}, path)
    with pytest.raises(InputError, match="has no array of SE-Net"):
        train.run(config, tmp_path / "run")
    save_file(weights.named(network_lib.load(runs / "folds")), path)
    with pytest.raises(InputError, match=r"several networks; export a run, or a fold, of one"):
        train.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def changed(arrays, name, change) -> dict[str, np.ndarray]:
    """The arrays with another one of this name; without it where there is no change to make."""
    others = {key: array for key, array in arrays.items() if key != name}
    return others | ({name: np.ascontiguousarray(change(arrays[name]))} if change else {})


def first_is(value):
    def change(array):
        array = array.copy()
        array.flat[0] = value
        return array

    return change


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("stem.weight", lambda a: a.astype(np.int32), "array stem.weight is of type int32; give"),
        ("stem.weight", lambda a: a > 0, "array stem.weight is of type bool"),
        ("stem.weight", first_is(np.nan), "array stem.weight has values that are NaN, infinite"),
        ("stem.weight", first_is(-np.inf), "array stem.weight has values that are NaN, infinite"),
        (
            "stem_norm.running_var",
            first_is(-1),
            "running_var has negative values, which a variance",
        ),
        (
            "stem.weight",
            lambda a: a.swapaxes(0, 4),
            r"1 start at random, since their shapes differ: \S*stem\S*kernel",
        ),
        ("head.bias", None, r"1 start at random, since they are absent: \S*head\S*bias"),
    ],
)
def test_wrong_arrays_are_refused_before_anything_is_written(
    runs, study, network, tmp_path, name, change, words
):
    config = config_of(runs, study, tmp_path)
    config.init_from = str(tmp_path / "model.safetensors")
    save_file(changed(in_pytorch(network), name, change), config.init_from)
    with pytest.raises(InputError, match=rf"config\.init_from: .*model\.safetensors.*{words}"):
        train.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "data").exists()


def test_a_folder_of_the_name_of_a_file_is_refused(runs, study, tmp_path):
    config = config_of(runs, study, tmp_path)
    (tmp_path / "model.safetensors").mkdir()
    config.init_from = str(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"is a folder; give the path of a safetensors file\."):
        train.run(config, tmp_path / "run")


@pytest.mark.extras
def test_what_a_file_lacks_is_called_absent(runs, study, network, tmp_path, capsys):
    config = config_of(runs, study, tmp_path)
    config.init_from, config.train.epochs = str(tmp_path / "model.safetensors"), 1
    arrays = changed(in_pytorch(network), "head.bias", None)
    save_file(changed(arrays, "stem.weight", lambda array: array[:2]), config.init_from)
    train.run(config, tmp_path / "run")
    printed = capsys.readouterr().out
    assert "1 start at random, since their shapes differ: [0]['stem']['kernel']" in printed
    assert "1 start at random, since they are absent: [0]['head']['bias']" in printed
