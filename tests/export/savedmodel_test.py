"""TensorFlow gives the run's numbers, by a bundle's SavedModel and without JAX."""

import dataclasses
import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest

from dtc_jax.errors import InputError
from dtc_jax.export import bundle, savedmodel, served
from dtc_jax.serving.bundled import verify
from tests.export import small_networks

EXTRA = "needs TensorFlow: pip install 'dtc-jax[savedmodel]'"
ROOT = pathlib.Path(__file__).parents[2]
TASKS = {
    "classification": lambda: small_networks.classifier(3),
    "candidates": lambda: small_networks.classifier(1),
    "segmentation": lambda: small_networks.segmenter(0),
}


def served_small(drawn, task: str) -> served.Served:
    config = TASKS[task]()
    config.predict.mirror = False
    return served.make(dataclasses.replace(drawn(config), threshold=0.4))


@pytest.fixture(scope="module")
def tensorflow():
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip(EXTRA)
    import tensorflow  # takes half a minute

    return tensorflow


@pytest.mark.extras
@pytest.mark.parametrize("task", TASKS)
def test_tensorflow_gives_the_same_numbers(drawn, tmp_path, tensorflow, task):
    one = served_small(drawn, task)
    assert savedmodel.path(one) == f"tensorflow_serving/{task}/1"
    savedmodel.write(one, tmp_path / "1")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in written} >= {"saved_model.pb", "variables.index"}
    assert not [path.name for path in written if str(ROOT).encode() in path.read_bytes()]
    model = tensorflow.saved_model.load(str(tmp_path / "1"))
    answer = model.signatures[savedmodel.SIGNATURE]
    specs = answer.structured_input_signature[1]
    assert specs.keys() == {array.name for array in one.inputs}
    for array in one.inputs:
        assert specs[array.name].shape.as_list() == [None, *array.shape]
        assert specs[array.name].dtype.name == array.dtype
    given = small_networks.arrays(one, 2)
    expected = one.on_cpu(*given.values())
    found = answer(**{name: tensorflow.constant(array) for name, array in given.items()})
    assert found.keys() == {array.name for array in one.outputs}
    for name, value in expected.items():
        assert np.ptp(value) > 1e-4
        assert verify.difference(name, found[name].numpy(), value) < 1e-5
    small = {name: tensorflow.constant(array[:, 1:]) for name, array in given.items()}
    depth, height, width = one.shape
    with pytest.raises(Exception, match=rf"image: give int16 \[B, {depth}, {height}, {width}\]"):
        answer(**small)


@pytest.mark.extras
def test_a_bundle_is_verified_by_tensorflow_in_a_process_of_its_own(
    drawn, tmp_path, capsys, tensorflow
):
    one = served_small(drawn, "segmentation").network
    out = tmp_path / "bundle"
    bundle.write(out, lambda: (one, "drawn"), tmp_path, ["savedmodel"])
    assert "savedmodel: 8 cases, probabilities within" in capsys.readouterr().out
    described = json.loads((out / "preprocessing.json").read_text())
    assert described["models"] == {"savedmodel": "tensorflow_serving/segmentation/1"}
    assert described["precision"]["largest_difference"]["savedmodel"] <= 1e-5


def test_a_tensorflow_that_cannot_be_loaded_is_one_message(drawn, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    one = served_small(drawn, "segmentation")
    with pytest.raises(InputError, match=r"cannot be loaded beside JAX.*dtc-jax\[savedmodel\]"):
        savedmodel.write(one, tmp_path / "1")
    assert not (tmp_path / "1").exists()
