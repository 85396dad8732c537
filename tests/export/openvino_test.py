"""OpenVINO answers as ONNX Runtime does, by the same ONNX model."""

import pytest

from dtc_jax.export import onnx_model, served
from dtc_jax.serving.bundled import verify
from tests.export import small_networks

pytestmark = pytest.mark.extras
openvino = pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")


@pytest.mark.parametrize("make", [small_networks.classifier, small_networks.segmenter])
def test_openvino_gives_the_same_numbers(drawn, make):
    config = make(0)
    config.predict.mirror = False
    one = served.make(drawn(config))
    core = openvino.Core()
    model = core.read_model(onnx_model.make(one, {}).SerializeToString())
    # It would take bfloat16 where the CPU has it.
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for batch in (3, 1):
        given = small_networks.arrays(one, batch)
        found = compiled(given)
        for name, expected in one.on_cpu(*given.values()).items():
            assert verify.difference(name, found[name], expected) < 1e-5
