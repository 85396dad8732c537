"""SE-Net and SE V-Net as ONNX nodes on planes, written from their weights.

A class of networks has a writer here: (x, network, params, batch_stats) -> output. A test holds
each against its Flax module, option by option.
"""

import dataclasses
from typing import Any

import numpy as np

from dtc_jax.export import layers
from dtc_jax.export.graph import ArrayNamespace, Tensor
from dtc_jax.export.layers import Weights
from dtc_jax.models.measures import measures
from dtc_jax.models.senet import SENet
from dtc_jax.models.vnet import VNet
from dtc_jax.training.task import PyTree


@dataclasses.dataclass(frozen=True)
class _Place:
    """A module's share of the weights.

    Attributes:
      params: of it.
      stats: running statistics of it.
    """

    params: Weights
    stats: Weights

    def __truediv__(self, name: str) -> "_Place":
        return _Place(self.params[name], self.stats.get(name, {}))


def _conv_norm(x: Tensor, at: _Place, name: str, norm: str, stride: int, norm_name: str) -> Tensor:
    if norm == "batch":
        folded = {**at.params[norm_name], **at.stats[norm_name]}
        return layers.conv(x, at.params[name], stride, folded)
    y = layers.conv(x, at.params[name], stride)
    return layers.group_norm(y, at.params[norm_name], norm)


def senet(x: Tensor, network: SENet, params: PyTree, batch_stats: PyTree) -> tuple[Tensor, Tensor]:
    """The logit [B] of `models.senet.SENet`, and what each place adds to it.

    Args:
      x: [B, D, C, H, W] in [0, 1].
      network: whose weights follow.
      params, batch_stats: trained.

    Returns:
      [B]; and `networks.saliency.contributions` of the map before the last pooling [B, d, h, w].
    """
    at, seen = _Place(params, batch_stats), x
    if network.stem:
        x = _conv_norm(x, at, "stem", network.norm, network.stem_stride, "stem_norm")
        x = layers.activate(x, "relu")
    fine = x
    for number in range(1, network.stages + 1):
        pools = number < network.stages or network.pool_last
        x, fine = _senet_stage(x, network, at / f"stage{number}", pools)
    head = params["head"]
    logit = layers.dense(layers.pooled_mean(x), head)  # [B, 1, 1, 1, 1]
    if network.measures:
        logit = logit + _measured(seen, params["measures"])
    share = layers.dense(fine, {"kernel": head["kernel"]})  # [B, d, 1, h, w]
    return logit.reshaped((), (-1,)), share.reshaped(layers.sides(share))


def _measured(x: Tensor, weights: Weights) -> Tensor:
    """`models.senet.MeasuresHead`. # [B, D, 2, H, W] -> [B, 1, 1, 1, 1]"""
    every = slice(None)
    image, mask = (
        x[(every, every, slice(channel, channel + 1))].reshaped(layers.sides(x))
        for channel in (0, 1)
    )
    seen = measures(image, mask, ArrayNamespace)  # [B, 1, 1, 1, F]
    hidden = layers.dense(seen.reshaped((1, seen.shape[-1], 1, 1)), weights["hidden"])
    return layers.dense(layers.activate(hidden, "relu"), weights["out"])


def _senet_stage(x: Tensor, network: SENet, at: _Place, pools: bool) -> tuple[Tensor, Tensor]:
    """`models.layers.ResidualSEStage`: its output, and its map before pooling where it has one."""
    y = layers.activate(_conv_norm(x, at, "conv1", network.norm, 1, "norm1"), "relu")
    y = _conv_norm(y, at, "conv2", network.norm, 1, "norm2")
    if network.se:
        y = layers.squeeze_excite(y, at.params["se"])
    if "projection" in at.params:
        x = layers.dense(x, at.params["projection"])
    window = network.pool_window
    if not pools or network.add == "before_pool":
        fine = layers.activate(x + y if network.residual else y, "relu")
        return layers.max_pool(fine, window) if pools else fine, fine
    out = layers.max_pool(y, window)
    if network.residual:
        out = layers.max_pool(x, window) + out
    out = layers.activate(out, "relu")
    return out, out


def vnet(x: Tensor, network: VNet, params: PyTree, batch_stats: PyTree) -> tuple[Tensor, None]:
    """The logits [B, D, H, W] of `models.vnet.VNet`; arguments as those of `senet`."""
    at, sides, skips = _Place(params, batch_stats), layers.sides(x), list[Tensor]()
    step = network.stem_stride * 2 ** (len(network.widths) - 1)
    for axis, side in zip(layers.SIDES, sides, strict=True):
        if side % step:  # goes on as its mirror image
            index = np.pad(np.arange(side), (0, -side % step), "symmetric")
            x = ArrayNamespace.take(x, index, axis)
    if network.stem_stride > 1:
        x = _vnet_conv(x, network, at, "stem", network.stem_stride)
    for level, count in enumerate(network.convolutions, start=1):
        if skips:
            x = _vnet_conv(x, network, at, f"down{level}", 2)
        x = _vnet_stage(x, x, network, at / f"encoder{level}", count)
        skips.append(x)
    for level in range(len(skips) - 1, 0, -1):
        x, skip = _vnet_up(x, network, at, f"up{level}"), skips[level - 1]
        depth, channels, *plane = x.shape
        shape = (depth, channels + skip.shape[1], *plane)
        joined = x.graph.node("Concat", [x, skip], shape, axis=2)
        x = _vnet_stage(joined, x, network, at / f"decoder{level}", network.convolutions[level - 1])
    logits = _spread(layers.dense(x, params["head1"]), network.stem_stride)  # [B, D', H', W']
    return logits[(slice(None), *(slice(0, side) for side in sides))], None


def _vnet_conv(x: Tensor, network: VNet, at: _Place, name: str, stride: int) -> Tensor:
    x = _conv_norm(x, at, name, network.norm, stride, f"{name}_norm")
    return layers.activate(x, network.activation, at.params.get(f"{name}_activation"))


def _vnet_up(x: Tensor, network: VNet, at: _Place, name: str) -> Tensor:
    """Twice the grid: a transposed convolution, or voxels repeated and convolved."""
    if network.up == "resize":
        return _vnet_conv(layers.repeat(x, 2), network, at, name, 1)
    norm = at.params[f"{name}_norm"]
    if network.norm == "batch":
        x = layers.transposed(x, at.params[name], {**norm, **at.stats[f"{name}_norm"]})
    else:
        x = layers.group_norm(layers.transposed(x, at.params[name], None), norm, network.norm)
    return layers.activate(x, network.activation, at.params.get(f"{name}_activation"))


def _vnet_stage(x: Tensor, shortcut: Tensor, network: VNet, at: _Place, count: int) -> Tensor:
    for i in range(1, count + 1):
        x = _conv_norm(x, at, f"conv{i}", network.norm, 1, f"norm{i}")
        if i < count:
            x = layers.activate(x, network.activation, at.params.get(f"activation{i}"))
    if "se" in at.params:
        x = layers.squeeze_excite(x, at.params["se"])
    last = at.params.get(f"activation{count}")
    x = x + shortcut if network.residual else x
    return layers.activate(x, network.activation, last)


def _spread(x: Tensor, times: int) -> Tensor:
    """Channels become voxels. # [B, D, t^3, H, W] -> [B, t D, t H, t W]"""
    sides = layers.sides(x)
    if times > 1:
        x = x.reshaped((sides[0], times, times, times, *sides[1:]))
        shape = tuple(n for side in sides for n in (side, times))
        x = x.graph.node("Transpose", [x], shape, perm=[0, 1, 2, 5, 3, 6, 4])
    return x.reshaped([times * side for side in sides])


WRITERS: dict[type, Any] = {SENet: senet, VNet: vnet}
