"""A 3-D convolution over planes gives the numbers of the 3-D convolution, in each of its forms."""

import numpy as np
import onnx
import onnxruntime
import pytest
from scipy.signal import correlate

from dtc_jax.export import onnx_model, planes, served, weights
from dtc_jax.export.graph import Graph
from tests.export import small_networks


def made(shape, kernel, bias, stride, exact) -> onnx.ModelProto:
    graph = Graph(exact)
    x = graph.input("x", shape[1:], np.float32)
    return graph.model({"y": planes.convolve(x, kernel, bias, stride)}, {})


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 9])
@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (5, 1), (2, 2), (3, 2)])
def test_it_is_the_3d_convolution(size, stride, depth, exact):
    shape, filters = (2, depth, 4, 5, 6), 3
    rng = np.random.default_rng(depth)
    x = rng.normal(size=shape).astype(np.float32)
    kernel = rng.normal(size=(size, size, size, 4, filters)).astype(np.float32)
    bias = rng.normal(size=filters).astype(np.float32)
    model = made(shape, kernel, bias, stride, exact)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (got,) = session.run(None, {"x": x})
    np.testing.assert_allclose(got, expected(x, kernel, bias, stride), atol=1e-4)
    combines = sum(node.op_type == "MatMul" for node in model.graph.node)
    assert combines == (3 if size in (3, 5) and stride == 1 and not exact else 0)


def expected(x, kernel, bias, stride) -> np.ndarray:
    """By SciPy, in float64. # [B, D, C, H, W] -> [B, D', F, H', W']"""
    x, size = np.moveaxis(x, 2, 1).astype(float), len(kernel)
    lack = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[2:]]
    x = np.pad(x, [(0, 0), (0, 0), *((n // 2, n - n // 2) for n in lack)])
    every = (slice(None, None, stride),) * 3
    y = [
        [
            sum(correlate(one[c], kernel[..., c, f], "valid") for c in range(len(one)))[every]
            for f in range(kernel.shape[-1])
        ]
        for one in x
    ]
    return np.moveaxis(np.array(y) + bias[:, None, None, None], 1, 2)


def test_a_model_holds_its_weights_once_and_no_3d_convolution(drawn):
    """A combined kernel would take twice the room; ONNX Runtime makes it as it loads the model."""
    one = served.make(drawn(small_networks.segmenter(0)))
    model = onnx_model.make(one, {})
    graph = model.graph
    kernels = sum(array.size for name, array in weights.named(one.network).items() if "ker" in name)
    constants = sum(
        int(np.prod(array.dims)) for array in graph.initializer if array.name.startswith("kernel")
    )
    assert constants == kernels
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in inferred}
    convolutions = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert len(convolutions) > 5
    for node in convolutions:
        assert ranks[node.output[0]] == 4  # an image: [N, C, H, W]
