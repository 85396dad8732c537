"""Each format gives the run's own numbers, whatever the configuration says."""

import importlib.util
import pathlib

import jax
import numpy as np
import onnx
import pytest
from jax import export
from safetensors.numpy import load

import launch
from dtc_jax.errors import InputError, UsageError
from dtc_jax.export import formats, networks, onnx_model, served, stablehlo, weights
from dtc_jax.models import senet as senet_lib
from dtc_jax.models import vnet as vnet_lib
from dtc_jax.tasks import segmentation
from dtc_jax.tasks.trained import Member, TrainedNetwork
from tests.export.small_networks import (
    HOW,
    PREPROCESS,
    SENETS,
    VNETS,
    arrays,
    assert_same,
    classifier,
    run_onnx,
    segmenter,
)

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("make", "number"),
    [*((classifier, i) for i in range(len(SENETS))), *((segmenter, i) for i in range(len(VNETS)))],
)
def test_onnx_gives_the_same_numbers_with_every_option(drawn, make, number):
    one = served.make(drawn(make(number), members=2 if number == 0 else 1))
    given = arrays(one, 2)
    assert one.uses_mask == (make is classifier and PREPROCESS[number % 3]["mask"] != "none")
    assert_same(run_onnx(one, given), one.on_cpu(*given.values()))


@pytest.mark.parametrize("make", [classifier, segmenter])
@pytest.mark.parametrize("norm", ["instance", "group"])
def test_onnx_gives_the_same_numbers_of_air_whatever_the_norm(drawn, make, norm):
    config = make(0)
    config.model.update(norm=norm)
    one = served.make(drawn(config))
    given = {
        name: np.full_like(x, -1000) if name == "image" else x * 0
        for name, x in arrays(one, 1).items()
    }
    answer, expected = run_onnx(one, given), one.on_cpu(*given.values())
    np.testing.assert_allclose(answer["probability"], expected["probability"], atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options", "free"),
    [
        (senet_lib.SENet, SENETS, {"dropout", "ratings", "stochastic_depth", *HOW}),
        (vnet_lib.VNet, VNETS, {"widths", *HOW}),
    ],
)
def test_every_field_of_a_network_is_among_those_options(kind, options, free):
    fields = set(kind.__dataclass_fields__) - {"parent", "name"}
    assert fields - set().union(*options) == free
    assert kind in networks.WRITERS


def test_an_ensemble_is_the_mean_of_its_networks(drawn):
    config = segmenter(2)
    one, other = drawn(config, members=2).members
    config = config.copy_and_resolve_references()
    config.train.ensemble = 2
    trees = ((one.params, other.params), (one.batch_stats, other.batch_stats))
    both = served.make(TrainedNetwork(segmentation.DEFINITION, (Member(config, *trees, {}),)))
    given = arrays(both, 1)
    assert_same(run_onnx(both, given), both.on_cpu(*given.values()))
    assert {name.split("/")[0] for name in weights.named(both.network)} == {"0", "1"}


@pytest.mark.parametrize("make", [classifier, segmenter])
def test_stablehlo_is_one_artefact_for_every_batch_and_platform(drawn, make):
    config = make(0)
    config.predict.mirror, config.model.conv = False, "auto"
    config.model.update({"stages": 1} if make is classifier else {"convolutions": (1, 1)})
    one = served.make(drawn(config))
    model = export.deserialize(bytearray(stablehlo.make(one)))
    assert model.platforms == stablehlo.PLATFORMS
    text = model.mlir_module()
    assert "served.py" in text  # where an operation is from, without the folders of this machine
    assert str(ROOT) not in text
    assert "[b, 0, 1, f]x[0, 1, i, o]" in text  # over planes, for a CPU
    assert "[b, 0, 1, 2, f]x[0, 1, 2, i, o]" in text  # native, for the others
    given = arrays(one, 3)
    answer = jax.device_get(model.call(*given.values()))
    assert_same(answer, one.on_cpu(*given.values()))
    first = jax.device_get(model.call(*(array[:1] for array in given.values())))
    for name, value in first.items():
        np.testing.assert_allclose(value, answer[name][:1], atol=1e-5)


def test_fewer_bits_give_about_the_same_numbers(drawn):
    config = classifier(0)
    config.predict.mirror = False
    config.model.stages = 1
    one = served.make(drawn(config))
    given = arrays(one, 2)
    expected = one.on_cpu(*given.values())
    artefact = export.deserialize(bytearray(stablehlo.make(one.computed_in("bfloat16"))))
    answers = {
        "float16": run_onnx(one, given, "float16"),
        "bfloat16": jax.device_get(artefact.call(*given.values())),
    }
    for dtype, answer in answers.items():
        for name, value in expected.items():
            assert answer[name].dtype == np.float32
            difference = abs(answer[name] - value).max()
            assert 0 < difference < 0.02, (dtype, name)
    model = onnx_model.make(one, {}, "float16")
    constants = {array.name: array.data_type for array in model.graph.initializer}
    kernels = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    inside = [constants[name] == onnx.TensorProto.FLOAT16 for name in kernels]
    assert sum(inside) == len(kernels) > 5


def test_weights_alone_are_not_computed_in_fewer_bits():
    with pytest.raises(UsageError, match=r"--dtype=float16: safetensors .* float32; omit --dtype"):
        formats.choose(["safetensors"], "float16")


def test_safetensors_holds_every_weight_exactly(drawn):
    network = drawn(segmenter(0), members=2)
    stored = load(weights.make(network, {"task": "a test"}))
    named = weights.named(network)
    assert stored.keys() == named.keys()
    for name, array in named.items():
        np.testing.assert_array_equal(stored[name], array)
    layout = weights.pytorch_layout(network)
    assert layout.keys() == named.keys()
    names = [entry["name"] for entry in layout.values()]
    assert len(set(names)) == len(names)
    assert layout["0/params/encoder1/conv1/kernel"] == {
        "name": "0.encoder1.conv1.weight",
        "permute": [4, 3, 0, 1, 2],
        "shape": [4, 1, 5, 5, 5],
    }
    assert layout["1/params/up1/kernel"]["shape"] == [8, 4, 2, 2, 2]
    assert layout["0/params/encoder1/se/squeeze/kernel"]["shape"] == [1, 4]


def test_what_onnx_cannot_say_is_refused_by_its_field(drawn):
    config = classifier(0)
    config.model.dtype = "bfloat16"
    with pytest.raises(UsageError, match=r"config\.model\.dtype='bfloat16'.*--format"):
        onnx_model.check(drawn(config))


def test_weights_that_do_not_fit_into_one_file_are_refused_before_it_is_written(
    drawn, tmp_path, monkeypatch
):
    one = served.make(drawn(classifier(0), members=2))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(one.network.variables))
    monkeypatch.setattr(formats, "_MOST_BYTES", size - 1)
    message = r"weights of 2 networks take .* GB, and onnx can hold .*--member"
    with pytest.raises(UsageError, match=message):
        formats.write(one, tmp_path, ("onnx", "safetensors"), "float32")
    assert not list(tmp_path.iterdir())
    formats.write(one, tmp_path, ("safetensors",), "float32")  # which has no such limit
    assert (tmp_path / "weights" / "model.safetensors").is_file()


def test_the_help_names_every_format():
    assert all(kind in launch.flags.FLAGS["format"].help for kind in formats.FORMATS)


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for kinds, message in (
        (["onnx"], r"needs onnx and onnxruntime; run pip install 'dtc-jax\[serve\]'"),
        (["savedmodel"], r"needs tensorflow; run pip install 'dtc-jax\[savedmodel\]'"),
        (["safetensors", "savedmodel"], r"'dtc-jax\[savedmodel,serve\]'"),
    ):
        with pytest.raises(InputError, match=message):
            formats.choose(kinds)
