"""The layers of both networks as ONNX nodes: [B, C, D, H, W], as ONNX and PyTorch have it.

Normalisation by batch statistics is folded into the convolution before it, in float64.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax import lax

from dtc_jax.export.graph import ArrayNamespace, Tensor
from dtc_jax.models.layers import GROUPS

_BATCH_EPSILON, _GROUP_EPSILON = 1e-5, 1e-6  # of flax.linen.BatchNorm and GroupNorm
_SLOPE = 0.01  # of flax.linen.leaky_relu
Weights = Mapping[str, Any]


def channels_first(x: Tensor) -> Tensor:
    """[B, D, H, W, C] -> [B, C, D, H, W]."""
    *sides, channels = x.shape
    return x.graph.node("Transpose", [x], (channels, *sides), perm=[0, 4, 1, 2, 3])


def conv(x: Tensor, weights: Weights, stride: int = 1, norm: Weights | None = None) -> Tensor:
    """`models.conv.Conv3D`, and the normalisation behind it where its statistics are given.

    Args:
      x: [B, C, D, H, W].
      weights: kernel [k, k, k, C, F], and bias [F] where there is one.
      stride: along each axis.
      norm: scale, bias, mean and var of a BatchNorm, each [F].
    """
    kernel, bias = _folded(weights, norm)
    size = kernel.shape[:3]
    pads = lax.padtype_to_pads(x.shape[1:], size, (stride,) * 3, "SAME")
    sides = [-(-side // stride) for side in x.shape[1:]]
    inputs: list[Tensor | str] = [x, x.graph.constant(kernel.transpose(4, 3, 0, 1, 2), "kernel")]
    if bias is not None:
        inputs.append(x.graph.constant(bias, "bias"))
    return x.graph.node(
        "Conv",
        inputs,
        (kernel.shape[-1], *sides),
        kernel_shape=size,
        strides=[stride] * 3,
        pads=[low for low, _ in pads] + [high for _, high in pads],
    )


def dense(x: Tensor, weights: Weights) -> Tensor:
    """`flax.linen.Dense` on the channels of every voxel."""
    return conv(x, {**weights, "kernel": np.asarray(weights["kernel"])[None, None, None]})


def transposed(x: Tensor, weights: Weights, norm: Weights | None) -> Tensor:
    """`models.vnet.TransposedConv3D`, and the normalisation behind it."""
    kernel, bias = _folded(weights, norm)  # [C, 2, 2, 2, F]
    inputs: list[Tensor | str] = [x, x.graph.constant(kernel.transpose(0, 4, 1, 2, 3), "kernel")]
    if bias is not None:
        inputs.append(x.graph.constant(bias, "bias"))
    shape = (kernel.shape[-1], *(2 * side for side in x.shape[1:]))
    return x.graph.node("ConvTranspose", inputs, shape, kernel_shape=[2] * 3, strides=[2] * 3)


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
    graph, channels = x.graph, x.shape[0]
    groups = channels if kind == "instance" else min(GROUPS, channels)
    to_groups = graph.constant(np.array([0, groups, -1], np.int64), "shape")
    back = graph.constant(np.array([0, *x.shape], np.int64), "shape")
    flat_shape = (groups, int(np.prod(x.shape)) // groups)
    flat = graph.node("Reshape", [x, to_groups], flat_shape)
    unit = [graph.constant(f(groups, dtype=np.float32)) for f in (np.ones, np.zeros)]
    flat = graph.node("InstanceNormalization", [flat, *unit], flat_shape, epsilon=_GROUP_EPSILON)
    scale, shift = (np.asarray(weights[k])[None, :, None, None, None] for k in ("scale", "bias"))
    return graph.node("Reshape", [flat, back], x.shape) * scale + shift


def pooled_mean(x: Tensor) -> Tensor:
    """The mean over all voxels. # [B, C, 1, 1, 1]"""
    return x.graph.node("GlobalAveragePool", [x], (x.shape[0], 1, 1, 1))


def max_pool(x: Tensor, window: Sequence[int]) -> Tensor:
    """`models.layers.max_pool`."""
    sides = [side // w for side, w in zip(x.shape[1:], window, strict=True)]
    shape = (x.shape[0], *sides)
    return x.graph.node("MaxPool", [x], shape, kernel_shape=list(window), strides=list(window))


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
        side = x.shape[axis - 1]
        x = ArrayNamespace.take(x, np.arange(side)[::-1], axis)
    return x


def repeat(x: Tensor, times: int) -> Tensor:
    """Every voxel `times` times along each axis. # [B, C, D, H, W] -> [B, C, t D, t H, t W]"""
    for axis in (2, 3, 4):
        x = ArrayNamespace.take(x, np.repeat(np.arange(x.shape[axis - 1]), times), axis)
    return x


def reshape(x: Tensor, shape: Sequence[int], front: Sequence[int] = (0,)) -> Tensor:
    """`x` in another shape.

    Args:
      x: [B, ...].
      shape: behind the front.
      front: (0,) keeps the batch, (-1,) is what is left, (V, -1) divides it into V parts.
    """
    target = x.graph.constant(np.array([*front, *shape], np.int64), "shape")
    return x.graph.node("Reshape", [x, target], (*front[1:], *shape), x.dtype)
