"""Small networks with every option between them, arrays for them, and what they give as ONNX."""

import numpy as np
import onnxruntime

from configs import candidates, senet, vnet
from dtc_jax.export import onnx_model, served

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
    {"activation": "leaky_relu", "norm": "instance", "se": "none", "residual": False},
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
