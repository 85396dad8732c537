"""A network in PyTorch that takes a bundle's weights gives the logits of the run."""

import json

import numpy as np
import pytest
from safetensors.numpy import load

from configs import senet, vnet
from dtc_jax.export import weights
from dtc_jax.imaging.preprocess import preprocess

pytestmark = pytest.mark.extras
torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'dtc-jax[test-torch]'")


def classifier():
    config = senet.get_config("demo").unlock()
    config.data.size_mm = (16, 16, 16)
    config.preprocess.update(crop_mm=(15, 16, 12), spacing_mm=1.0, mask="channel")
    config.model.update(width=4, stages=2, stem_stride=2)
    return config


def segmenter():
    config = vnet.get_config("demo").unlock()
    config.model.update(widths=(4, 8, 8), convolutions=(1, 2, 1), kernel_size=5, stem_stride=1)
    config.model.update(norm="batch", activation="prelu", up="transposed", se="both")
    config.preprocess.update(spacing_mm=1.0)
    config.predict.crop_mm = (8, 12, 16)
    return config


@pytest.mark.parametrize("make", [classifier, segmenter])
def test_the_logits_are_those_of_the_run(drawn, make):
    from benchmarks import pytorch_networks

    config = make()
    config.predict.mirror = False
    network = drawn(config)
    arrays = load(weights.make(network, {}))
    layout = json.loads(json.dumps(weights.pytorch_layout(network)))
    spec = network.task.make_predict_preprocess(config)
    shape = tuple(config.data.size_mm if make is classifier else config.predict.crop_mm)
    other = pytorch_networks.make(config, spec.channels)
    pytorch_networks.load(other, arrays, layout)
    rng = np.random.default_rng(0)
    image = rng.integers(-1000, 400, (3, *shape)).astype(np.int16)
    mask = (rng.random(image.shape) > 0.5).astype(np.uint8)
    expected = np.asarray(network.on_device(image, mask))
    x = preprocess(image, mask, spec, np)
    with torch.no_grad():
        logits = other(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    assert np.ptp(expected) > 1e-3
    scale = max(1.0, float(abs(expected).max()))
    np.testing.assert_allclose(logits / scale, expected / scale, atol=1e-5)
