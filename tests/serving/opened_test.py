"""A bundle is opened without trust in it, and gives what it is asked for and no more."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import onnx
import pytest

from dtc_jax.errors import InputError
from dtc_jax.export import bundle
from dtc_jax.serving import bundle as bundle_lib
from dtc_jax.serving.bundled import verify
from dtc_jax.serving.classifier import make_classifier
from tests.export import small_networks


@pytest.fixture(scope="module")
def exported(drawn, tmp_path_factory) -> pathlib.Path:
    """The bundle of a classifier with drawn weights; not to be changed."""
    config = small_networks.classifier(3)
    config.predict.mirror = False
    one = dataclasses.replace(drawn(config), threshold=0.4)
    folder = tmp_path_factory.mktemp("exported")
    bundle.write(folder / "bundle", lambda: (one, "drawn"), folder, ["onnx"])
    return folder / "bundle"


@pytest.fixture
def copy(exported, tmp_path) -> pathlib.Path:
    return shutil.copytree(exported, tmp_path / "copy")


def test_weights_outside_the_bundle_are_not_read(copy):
    path = copy / "triton" / "classification" / "1" / "model.onnx"
    outside = copy.parent / "weights.bin"
    model = onnx.load(path)
    tensor = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    onnx.external_data_helper.set_external_data(tensor, f"../../../../{outside.name}")
    outside.write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    bundle.write_sums(copy)
    with pytest.raises(InputError, match=r"copy: ONNX Runtime .* cannot read its model .*escapes"):
        bundle_lib.read(copy, "classification")


def test_a_model_outside_the_bundle_is_not_read(exported, copy):
    described = json.loads((copy / "preprocessing.json").read_text())
    described["models"]["onnx"] = str(exported / described["models"]["onnx"])
    (copy / "preprocessing.json").write_text(json.dumps(described))
    bundle.write_sums(copy)
    with pytest.raises(InputError, match="the onnx model is not in the bundle"):
        bundle_lib.read(copy, "classification")


def test_heat_maps_are_fetched_only_where_they_are_wanted(exported):
    opened = bundle_lib.read(exported, "classification")
    asked = []

    def model(arrays, outputs=()):
        asked.append([*outputs])
        return opened.model(arrays, outputs)

    answer = make_classifier(dataclasses.replace(opened, model=model)).answer
    (arrays, expected) = verify.cases(exported)["three"]
    probability, heat = answer(arrays["image"], arrays["mask"], False)
    assert heat is None
    again, heat = answer(arrays["image"], arrays["mask"], True)
    np.testing.assert_array_equal(probability, again)
    np.testing.assert_allclose(heat, expected["heat"], atol=1e-4)
    assert asked == [["probability"], ["probability", "heat"]]


def test_sums_that_are_no_text_are_one_clear_message(copy):
    (copy / "SHA256SUMS").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"was changed after its export: .*SHA256SUMS has changed"):
        bundle_lib.read(copy, "classification")


@pytest.mark.parametrize(
    "changed",
    [{"task": "detection"}, {"threshold": None}, {"models": ["onnx"]}, {"models": ["model.onnx"]}],
)
def test_a_description_that_cannot_be_used_is_one_clear_message(copy, changed):
    path = copy / "preprocessing.json"
    described = json.loads(path.read_text()) | changed
    path.write_text(json.dumps({k: value for k, value in described.items() if value is not None}))
    bundle.write_sums(copy)
    with pytest.raises(InputError, match="another version of dtc-jax; export its run again"):
        bundle_lib.read(copy, "classification")
