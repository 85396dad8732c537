"""Each format gives the run's own numbers, whatever the configuration says."""

import pathlib

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from jax import export
from safetensors.numpy import load

from configs import candidates, senet, vnet
from dtc_jax.errors import UsageError
from dtc_jax.export import networks, onnx_model, served, stablehlo, weights
from dtc_jax.models import senet as senet_lib
from dtc_jax.models import vnet as vnet_lib
from dtc_jax.tasks import segmentation
from dtc_jax.tasks.trained import Member, TrainedNetwork

ROOT = pathlib.Path(__file__).parents[2]
# Fields of both networks that say how they are computed, or that only the size depends on.
HOW = {"se_ratio", "dtype", "axis_name", "conv", "remat"}
SENETS = [
    {"width": 4, "stages": 2},
    {
        "width": 4,
        "stages": 2,
        "stem": False,
        "norm": "group",
        "add": "after_pool",
        "pool_window": (1, 2, 2),
        "projection_bias": True,
        "conv_bias": True,
    },
    {"width": 9, "stages": 1, "stem_stride": 2, "norm": "instance", "pool_last": False},
    {"width": 8, "stages": 1, "se": False, "residual": False, "measures": 5},
]
VNETS = [
    {"activation": "prelu", "kernel_size": 5, "convolutions": (1, 2)},
    {
        "activation": "elu",
        "norm": "group",
        "up": "resize",
        "stem_stride": 2,
        "se": "encoder",
        "deep_supervision": True,
    },
    {"activation": "leaky_relu", "norm": "instance", "se": "none", "stem_stride": 2},
]
PREPROCESS = [
    {"crop_mm": (12, 12, 14), "mask": "channel"},
    {"crop_mm": (15, 12, 12), "spacing_mm": 1.5, "mask": "apply", "window": (-900.0, 300.0)},
    {"crop_mm": (11, 12, 20), "mask": "none"},  # the last reaches beyond the record
]


def classifier(number: int):
    config = (candidates if number == 1 else senet).get_config("demo").unlock()
    config.data.size_mm = (16, 16, 18)
    config.model.update({"stem_stride": 1, "conv": "native"} | SENETS[number])
    config.preprocess.update(PREPROCESS[number % len(PREPROCESS)])
    config.predict.mirror = number != 1
    return config


def segmenter(number: int):
    config = vnet.get_config("demo").unlock()
    small = {"widths": (4, 8), "convolutions": (1, 1), "conv": "native"}
    config.model.update(small | VNETS[number])
    config.predict.update(crop_mm=(9, 12, 14), mirror=number == 0)
    config.preprocess.update(spacing_mm=1.0)
    return config


def arrays(one: served.Served, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch)
    image = rng.integers(-1100, 500, (batch, *one.shape)).astype(np.int16)
    image[0, 0] = -3024
    given = {"image": image, "mask": (rng.random(image.shape) > 0.5).astype(np.uint8)}
    return {array.name: given[array.name] for array in one.inputs}


def assert_same(answer: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert answer.keys() == expected.keys()
    for name, value in expected.items():
        assert np.ptp(value) > 1e-4  # there is something to compare
        np.testing.assert_allclose(answer[name], value, atol=1e-5)


def run_onnx(
    one: served.Served, given: dict[str, np.ndarray], dtype: str = "float32"
) -> dict[str, np.ndarray]:
    model = onnx_model.make(one, {"task": "a test"}, dtype).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, given), strict=True))


@pytest.mark.parametrize(
    ("make", "number"),
    [*((classifier, i) for i in range(len(SENETS))), *((segmenter, i) for i in range(len(VNETS)))],
)
def test_onnx_gives_the_same_numbers_with_every_option(drawn, make, number):
    one = served.make(drawn(make(number), members=2 if number == 0 else 1))
    given = arrays(one, 2)
    assert one.uses_mask == (make is classifier and PREPROCESS[number % 3]["mask"] != "none")
    assert_same(run_onnx(one, given), one.on_cpu(*given.values()))


@pytest.mark.parametrize(
    ("kind", "options", "free"),
    [
        (senet_lib.SENet, SENETS, {"dropout", "ratings", *HOW}),
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
