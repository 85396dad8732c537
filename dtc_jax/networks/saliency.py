"""Where SE-Net looks: Grad-CAM on its last stage, and a test that the map depends on the weights.

Grad-CAM (Selvaraju et al. 2017, eq. 1 and 2) weights each channel of a feature map by the mean of
the logit's gradient over it, adds the channels up and cuts off what is negative. Behind SE-Net's
last stage stand a global mean and one linear unit, so that gradient is the unit's weight over the
number of positions: nothing need be differentiated, and the map is in units of the logit. The same
holds of the stage's map before its max-pooling, which hands each gradient on to one voxel of a
window: their mean is the same weight over the larger number of positions. That map is shown, for it
is twice as fine along each axis; of a small crop the pooled one is a single position.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from dtc_jax.models.senet import SENet
from dtc_jax.training.task import PyTree


@functools.partial(jax.jit, static_argnums=(0, 4))
def contributions(
    network: SENet, params: PyTree, batch_stats: PyTree, x: jax.Array, pooled: bool = True
) -> jax.Array:
    """What each place of the last feature map adds to the logit of the positive class.

    Args:
      network: whose parameters follow.
      params, batch_stats: trained.
      x: [B, D, H, W, C] in [0, 1], of `imaging.preprocess`.
      pooled: False takes the last stage's map before its max-pooling, where there is one.

    Returns:
      [B, d, h, w] float32; if pooled, their mean and the bias of the head add up to the logit,
      less what `config.model.measures` adds to it.
    """
    _, sown = network.apply(
        {"params": params, "batch_stats": batch_stats}, x, train=False, mutable=["intermediates"]
    )
    stage = sown["intermediates"].get(f"stage{network.stages}", {})
    (features,) = sown["intermediates"]["features"]  # [B, d, h, w, C]
    if not pooled and "before_pool" in stage:
        (features,) = stage["before_pool"]  # [B, 2 d, 2 h, 2 w, C]
    return (features.astype(jnp.float32) @ params["head"]["kernel"])[..., 0]  # [B, d, h, w]


def heat_maps(network: SENet, params: PyTree, batch_stats: PyTree, x: jax.Array) -> jax.Array:
    """Grad-CAM of the positive class (RAI-refractory) on the grid of the crop.

    Args:
      network, params, batch_stats, x: as in `contributions`, whose positive part it is.

    Returns:
      [B, D, H, W] float32, from 0 on, in units of the logit.
    """
    positive = nn.relu(contributions(network, params, batch_stats, x, False))
    return stretched(positive, x.shape[1:-1], network.cell)


def stretched(maps: jax.Array, shape: Sequence[int], cell: Sequence[int]) -> jax.Array:
    """Maps on the grid of the crop, by linear interpolation.

    Pooling drops what is left over at the end of an axis, for which no place of the map stands: it
    gets the values next to it.

    Args:
      maps: [B, d, h, w].
      shape: of the crop.
      cell: voxels along z, y, x for which a place stands, see `SENet.cell`.

    Returns:
      [B, D, H, W].
    """
    batch, *places = maps.shape
    sides = [n * voxels for n, voxels in zip(places, cell, strict=True)]
    maps = jax.image.resize(maps, (batch, *sides), "linear")
    for axis, (side, n) in enumerate(zip(sides, shape, strict=True), start=1):
        maps = jax.lax.slice_in_dim(maps, 0, min(side, n), axis=axis)
        rest = [(0, n - side if i == axis and n > side else 0) for i in range(maps.ndim)]
        maps = jnp.pad(maps, rest, mode="edge")
    return maps


def resemblance_to_random(
    network: SENet, params: PyTree, batch_stats: PyTree, x: jax.Array, key: jax.Array
) -> np.ndarray:
    """How much the maps resemble those of the same network with random weights.

    The model parameter randomization test of Adebayo et al. 2018 (sec. 4): a map that stays the
    same when all that was learned is gone shows edges of the picture, not what the network uses.

    Args:
      network: whose maps they are.
      params: as trained.
      batch_stats: as trained.
      x: network inputs, float [B, D, H, W, C].
      key: of the random weights.

    Returns:
      [B]: the absolute rank correlation (Spearman) of both maps; near 0 is good, 1 means that the
      map does not depend on what was learned.
    """
    drawn = jax.jit(network.init, static_argnames="train")(key, x[:1], train=False)
    trained = contributions(network, params, batch_stats, x, False)
    random = contributions(network, drawn["params"], drawn.get("batch_stats", {}), x, False)
    pairs = zip(np.asarray(trained), np.asarray(random), strict=True)
    return np.array([abs(stats.spearmanr(a, b, axis=None).statistic) for a, b in pairs])
