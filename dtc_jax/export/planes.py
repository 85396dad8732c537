"""The 3-D convolution as ONNX nodes on planes: [B, D, C, H, W], each plane an image of C channels.

On a CPU, ONNX Runtime has its fast kernels for images alone (microsoft/onnxruntime#1327), so a 3-D
convolution is written as 2-D ones. With the planes before the channels, [B, D, C, H, W] is
[B * D, C, H, W] by another name, and nothing is transposed between layers. Kernels of three and of
five planes are computed by Winograd's algorithm, which saves about half of the products; others
have the planes that they see laid below each other as channels. benchmarks/onnx_conv3d.py measures
both beside the 3-D convolution.
"""

import numpy as np
from jax import lax

from dtc_jax.export.graph import Tensor
from dtc_jax.models.winograd import transforms

_TILES = {3: 4, 5: 2}  # output planes computed together, by the planes of a kernel
_CHANNELS = 4  # with fewer, the combinations cost what they save


def convolve(x: Tensor, kernel: np.ndarray, bias: np.ndarray | None, stride: int = 1) -> Tensor:
    """'SAME' 3-D convolution.

    Args:
      x: [B, D, C, H, W].
      kernel: [k, k, k, C, F].
      bias: [F], or None.
      stride: the same along all axes.

    Returns:
      [B, ceil(D / stride), F, ceil(H / stride), ceil(W / stride)].
    """
    few = kernel.shape[3] < _CHANNELS
    if stride > 1 or len(kernel) not in _TILES or few or x.graph.exact:
        return _stacked(x, kernel, bias, stride)
    return _winograd(x, kernel, bias)


def _stacked(x: Tensor, kernel: np.ndarray, bias: np.ndarray | None, stride: int) -> Tensor:
    """The planes under the kernel as channels of one image."""
    depth, channels, *sides = x.shape
    size, *window, _, filters = kernel.shape
    low, _ = lax.padtype_to_pads((depth,), (size,), (stride,), "SAME")[0]
    out = -(-depth // stride)
    seen = np.arange(out)[:, None] * stride + np.arange(size) - low  # [D', k]
    seen = np.where((seen >= 0) & (seen < depth), seen, depth).ravel()
    if depth in seen:  # a plane of zeros, beyond the last one
        pads = x.graph.constant(np.array([0] * 6 + [1] + [0] * 3, np.int64), "pads")
        x = x.graph.node("Pad", [x, pads], (depth + 1, channels, *sides))
    if not np.array_equal(seen, np.arange(depth)):
        index = x.graph.constant(seen.astype(np.int64), "planes")
        x = x.graph.node("Gather", [x, index], (out * size, channels, *sides), axis=1)
    images = x.reshaped((size * channels, *sides), (-1,))  # [B * D', k * C, H, W]
    flat = kernel.transpose(4, 0, 3, 1, 2).reshape(filters, size * channels, *window)
    y = _images(images, x.graph.constant(flat, "kernel"), bias, filters, window, stride)
    return y.reshaped((out, *y.shape), (-1,))


def _winograd(x: Tensor, kernel: np.ndarray, bias: np.ndarray | None) -> Tensor:
    """Winograd's F(m, k) along depth (Lavin and Gray 2016), as `models.winograd`.

    Fixed combinations of planes, a 2-D convolution of each, fixed combinations of the results. The
    kernel stands in the model as it is; a runtime combines its planes once, when it loads them.
    """
    graph, (depth, channels, *sides) = x.graph, x.shape
    size, *window, _, filters = kernel.shape
    tile = min(_TILES[size], max(2, depth))
    of_input, of_kernel, of_result = _matrices(depth, tile, size)
    parts, tiles = len(of_kernel), -(-depth // tile)
    planes = x.reshaped((depth, channels * sides[0] * sides[1]))
    combined = _product(of_input, planes)  # [B, T * parts, C * H * W]
    images = combined.reshaped((parts * channels, *sides), (-1,))  # [B * T, parts * C, H, W]
    flat = kernel.transpose(0, 4, 3, 1, 2).reshape(size, -1)  # [k, F * C * k * k]
    names = [graph.constant(of_kernel, "combination"), graph.constant(flat, "kernel")]
    together = graph.node("MatMul", names, (flat.shape[1],))  # [parts, F * C * k * k]
    kernels = together.reshaped((channels, *window), (parts * filters,)).name
    if bias is not None:  # of the part of point 1, which goes into every result once
        bias = np.pad(bias, (filters, (parts - 2) * filters))
    y = _images(images, kernels, bias, parts * filters, window, 1, parts)
    y = y.reshaped((tiles * parts, filters * sides[0] * sides[1]), (-1,))
    return _product(of_result, y).reshaped((depth, filters, *sides))


def _matrices(depth: int, tile: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is combined of planes [T * parts, D], of a kernel [parts, k], of results [D, T * parts].

    Planes beyond the first and the last one are zero, and have no column.
    """
    of_input, of_kernel, of_result = transforms(tile, size)
    parts, tiles, before = len(of_kernel), -(-depth // tile), (size - 1) // 2
    planes = np.zeros((tiles, parts, tiles * tile + size - 1))
    results = np.zeros((tiles, tile, tiles, parts))
    for t in range(tiles):
        planes[t, :, t * tile : t * tile + parts] = of_input
        results[t, :, t] = of_result
    return (
        planes.reshape(tiles * parts, -1)[:, before : before + depth].astype(np.float32),
        of_kernel.astype(np.float32),
        results.reshape(tiles * tile, -1)[:depth].astype(np.float32),
    )


def _product(matrix: np.ndarray, x: Tensor) -> Tensor:
    """[m, n] times [B, n, L]. # [B, m, L]"""
    name = x.graph.constant(matrix, "combination")
    return x.graph.node("MatMul", [name, x], (len(matrix), x.shape[1]))


def _images(
    x: Tensor,
    kernel: str,
    bias: np.ndarray | None,
    filters: int,
    window: tuple[int, ...] | list[int],
    stride: int,
    groups: int = 1,
) -> Tensor:
    """'SAME' 2-D convolution. # [N, C, H, W] -> [N, F, H', W']"""
    pads = lax.padtype_to_pads(x.shape[1:], window, (stride,) * 2, "SAME")
    inputs: list[Tensor | str] = [x, kernel]
    if bias is not None:
        inputs.append(x.graph.constant(bias.astype(np.float32), "bias"))
    return x.graph.node(
        "Conv",
        inputs,
        (filters, *(-(-side // stride) for side in x.shape[1:])),
        kernel_shape=list(window),
        strides=[stride] * 2,
        pads=[low for low, _ in pads] + [high for _, high in pads],
        group=groups,
    )
