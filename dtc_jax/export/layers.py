"""The layers of both networks as ONNX nodes, on planes: [B, D, C, H, W] (see `planes`).

Normalisation by batch statistics is folded into the convolution before it, in float64.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dtc_jax.export import planes
from dtc_jax.export.graph import ArrayNamespace, Tensor
from dtc_jax.models.layers import GROUP_EPSILON, GROUPS

SIDES = (1, 3, 4)  # the axes D, H and W
_BATCH_EPSILON = 1e-5  # of flax.linen.BatchNorm
_SLOPE = 0.01  # of flax.linen.leaky_relu
Weights = Mapping[str, Any]


def channels_inside(x: Tensor) -> Tensor:
    """[B, D, H, W, C] -> [B, D, C, H, W]."""
    depth, height, width, channels = x.shape
    shape = (depth, channels, height, width)
    return x.graph.node("Transpose", [x], shape, perm=[0, 1, 4, 2, 3])


def sides(x: Tensor) -> tuple[int, int, int]:
    """Voxels along z, y and x."""
    depth, _, height, width = x.shape
    return depth, height, width


def conv(x: Tensor, weights: Weights, stride: int = 1, norm: Weights | None = None) -> Tensor:
    """`models.conv.Conv3D`, and the normalisation behind it where its statistics are given.

    Args:
      x: [B, D, C, H, W].
      weights: kernel [k, k, k, C, F], and bias [F] where there is one.
      stride: along each axis.
      norm: scale, bias, mean and var of a BatchNorm, each [F].
    """
    return planes.convolve(x, *_folded(weights, norm), stride)


def dense(x: Tensor, weights: Weights) -> Tensor:
    """`flax.linen.Dense` on the channels of every voxel."""
    return conv(x, {**weights, "kernel": np.asarray(weights["kernel"])[None, None, None]})


def transposed(x: Tensor, weights: Weights, norm: Weights | None) -> Tensor:
    """`models.vnet.TransposedConv3D`, and the normalisation behind it."""
    kernel, bias = _folded(weights, norm)  # [C, 2, 2, 2, F]
    (depth, channels, height, width), filters = x.shape, kernel.shape[-1]
    flat = kernel.transpose(0, 1, 4, 2, 3).reshape(channels, 2 * filters, 2, 2)
    images = x.reshaped((channels, height, width), (-1,))  # [B * D, C, H, W]
    inputs: list[Tensor | str] = [images, x.graph.constant(flat, "kernel")]
    if bias is not None:
        inputs.append(x.graph.constant(np.tile(bias, 2), "bias"))
    shape = (2 * filters, 2 * height, 2 * width)  # two planes of each
    y = x.graph.node("ConvTranspose", inputs, shape, kernel_shape=[2] * 2, strides=[2] * 2)
    return y.reshaped((2 * depth, filters, 2 * height, 2 * width), (-1,))


def _folded(weights: Weights, norm: Weights | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Kernel [..., F] and bias [F], after which the norm has nothing left to do."""
    kernel, bias = np.asarray(weights["kernel"]), weights.get("bias")
    if norm is None:
        return kernel, None if bias is None else np.asarray(bias)
    scale, shift, mean, var = (np.asarray(norm[k], float) for k in ("scale", "bias", "mean", "var"))
    gain = scale / np.sqrt(var + _BATCH_EPSILON)
    before = 0.0 if bias is None else np.asarray(bias, float)
    return (kernel * gain).astype(np.float32), ((before - mean) * gain + shift).astype(np.float32)


def group_norm(x: Tensor, weights: Weights, kind: str) -> Tensor:
    """`models.layers.normalization` of an example by itself: 'instance' or 'group'."""
    depth, channels, height, width = x.shape
    groups = channels if kind == "instance" else min(GROUPS, channels)
    flat = x.reshaped((depth, groups, channels // groups * height * width))
    away = flat - _mean(flat, (3,))  # [B, D, G, L]
    # What rounding left of the mean: where all is nearly uniform, as air is, it would be enlarged
    # up to a thousand times.
    away = away - _mean(away, (3,))
    spread = ArrayNamespace.sqrt(_mean(away * away, (3,)) + GROUP_EPSILON)
    scale, shift = (np.asarray(weights[k])[None, None, :, None, None] for k in ("scale", "bias"))
    return (away / spread).reshaped(x.shape) * scale + shift


def pooled_mean(x: Tensor) -> Tensor:
    """The mean over all voxels. # [B, 1, C, 1, 1]"""
    return _mean(x, (3, 4))


def _mean(x: Tensor, within: Sequence[int]) -> Tensor:
    """The mean over axes of a plane and over planes: in two steps it is fastest and most exact."""
    of_planes = ArrayNamespace.mean(x, axis=within, keepdims=True)
    return ArrayNamespace.mean(of_planes, axis=(1,), keepdims=True)


def max_pool(x: Tensor, window: Sequence[int]) -> Tensor:
    """`models.layers.max_pool`: within planes, then over neighbouring ones."""
    depth, channels, *_ = x.shape
    counts = [side // w for side, w in zip(sides(x), window, strict=True)]
    images = x.reshaped(x.shape[1:], (-1,))  # [B * D, C, H, W]
    within = {"kernel_shape": list(window[1:]), "strides": list(window[1:])}
    pooled = x.graph.node("MaxPool", [images], (channels, *counts[1:]), **within)
    plane = channels * counts[1] * counts[2]
    pooled = pooled.reshaped((1, depth, plane), (-1,))
    over = {"kernel_shape": [window[0], 1], "strides": [window[0], 1]}
    pooled = x.graph.node("MaxPool", [pooled], (1, counts[0], plane), **over)
    return pooled.reshaped((counts[0], channels, *counts[1:]))


def squeeze_excite(x: Tensor, weights: Weights) -> Tensor:
    """`models.layers.SqueezeExcite`."""
    gate = activate(dense(pooled_mean(x), weights["squeeze"]), "relu")
    return x * activate(dense(gate, weights["excite"]), "sigmoid")


def activate(x: Tensor, kind: str, weights: Weights | None = None) -> Tensor:
    """An activation of either network; `weights` where it has any."""
    if kind == "prelu":
        slope = np.asarray((weights or {})["negative_slope"], np.float32).reshape(1)
        return x.graph.node("PRelu", [x, x.graph.constant(slope, "slope")], x.shape)
    operators: dict[str, tuple[str, dict[str, float]]] = {
        "relu": ("Relu", {}),
        "sigmoid": ("Sigmoid", {}),
        "leaky_relu": ("LeakyRelu", {"alpha": _SLOPE}),
        "elu": ("Elu", {"alpha": 1.0}),
    }
    operator, attributes = operators[kind]
    return x.graph.node(operator, [x], x.shape, **attributes)


def flip(x: Tensor, axes: Sequence[int]) -> Tensor:
    """`x` mirrored along axes, of which the batch is 0."""
    for axis in axes:
        ends = [[-1], [-x.shape[axis - 1] - 1], [axis], [-1]]  # from the last one, backwards
        names = [x.graph.constant(np.array(values, np.int64), "range") for values in ends]
        x = x.graph.node("Slice", [x, *names], x.shape, x.dtype)
    return x


def repeat(x: Tensor, times: int) -> Tensor:
    """Every voxel `times` times along each axis. # [B, D, C, H, W] -> [B, t D, C, t H, t W]"""
    for axis in SIDES:
        x = ArrayNamespace.take(x, np.repeat(np.arange(x.shape[axis - 1]), times), axis)
    return x
