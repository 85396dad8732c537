"""Building blocks of both networks: normalisation, pooling, squeeze-and-excitation, stages."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from dtc_jax.models.conv import Conv3D, Form

Norm = Literal["batch", "instance", "group"]
# Running statistics average about the last 30 batches. At the usual 0.9, batches of 16 crops leave
# them noisy enough to move the validation loss by a sixth from one evaluation to the next.
_BATCH_NORM_MOMENTUM = 0.97
GROUPS = 8  # of the norm "group", at the most
GROUP_EPSILON = 1e-6  # of the norms of single examples


def normalization(
    kind: Norm, channels: int, train: bool, dtype: jnp.dtype, axis_name: str | None, name: str
) -> nn.Module:
    """A normalisation layer; statistics are kept in float32 whatever the compute `dtype` is.

    Args:
      kind: 'batch', 'instance' or 'group'.
      channels: of the input.
      train: whether batch statistics are used (and updated) rather than running ones.
      dtype: of the computation.
      axis_name: mapped axis over which batch statistics are averaged (pmap), or None.
      name: of the layer.
    """
    if kind == "batch":
        return nn.BatchNorm(
            use_running_average=not train,
            momentum=_BATCH_NORM_MOMENTUM,
            dtype=dtype,
            axis_name=axis_name if train else None,
            name=name,
        )
    if kind == "instance":
        return GroupNorm(channels, dtype, name=name)
    if kind == "group":
        return GroupNorm(min(GROUPS, channels), dtype, name=name)
    raise ValueError(f"norm={kind!r}: choose batch, instance or group.")


class GroupNorm(nn.Module):
    """`flax.linen.GroupNorm`, exact where an example is nearly uniform, as air is.

    Flax takes the variance for the mean square less the squared mean: there, rounding error.

    Attributes:
      groups: of channels, which have mean 0 and variance 1 over all voxels of an example.
      dtype: of the computation; that of the statistics is float32.
    """

    groups: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, D, H, W, C] -> the same."""
        batch, *_, channels = x.shape
        if channels % self.groups:
            raise ValueError(f"norm='group': {channels} channels make no {self.groups} groups.")
        scale = self.param("scale", nn.initializers.ones, (channels,))[None, None, None, None]
        bias = self.param("bias", nn.initializers.zeros, (channels,))[None, None, None, None]
        grouped = (batch, -1, self.groups, channels // self.groups)
        away = x.astype(jnp.float32).reshape(grouped)
        for _ in range(2):  # the second time takes what rounding has left of the mean
            away = away - away.mean(axis=(1, 3), keepdims=True)
        spread = jnp.sqrt((away**2).mean(axis=(1, 3), keepdims=True) + GROUP_EPSILON)
        return ((away / spread).reshape(x.shape) * scale + bias).astype(self.dtype)


def max_pool(x: jax.Array, window: tuple[int, int, int]) -> jax.Array:
    """Maximum over windows that do not overlap; what is left over at the end is dropped.

    As reshape and max: its gradient is deterministic on a GPU, unlike reduce_window's. Where
    several voxels of a window are largest, they share the gradient.

    Args:
      x: [B, D, H, W, C].
      window: along z, y, x; none larger than the axis.

    Returns:
      [B, D // wd, H // wh, W // ww, C].
    """
    batch, *sizes, channels = x.shape
    counts = [size // w for size, w in zip(sizes, window, strict=True)]
    if min(counts) == 0:
        raise ValueError(
            f"a feature map of {tuple(sizes)} cannot be pooled by {window}: use a larger crop, "
            "fewer stages, or leave out pooling in the last stage."
        )
    x = x[:, : counts[0] * window[0], : counts[1] * window[1], : counts[2] * window[2]]
    pairs = [n for count, w in zip(counts, window, strict=True) for n in (count, w)]
    return x.reshape(batch, *pairs, channels).max(axis=(2, 4, 6))


def dropout(x: jax.Array, keys: jax.Array, rate: float) -> jax.Array:
    """Drops values of each example by its own key, so the draw is the same on any device count.

    Args:
      x: [B, ...].
      keys: [B] random keys.
      rate: share that is set to 0; the rest is scaled up.
    """
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate, x.shape[1:]))(keys)
    return jnp.where(keep, x / (1.0 - rate), 0.0).astype(x.dtype)


def stochastic_depth(x: jax.Array, keys: jax.Array, rate: float) -> jax.Array:
    """Drops whole examples of a residual branch, by their keys (Huang et al. 2016). # [B, ...]

    Args:
      x: the branch. # [B, ...]
      keys: [B] random keys.
      rate: share of the examples that are set to 0; the rest is scaled up.
    """
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate))(keys)  # [B]
    keep = keep.reshape(-1, *[1] * (x.ndim - 1))
    return jnp.where(keep, x / (1.0 - rate), 0.0).astype(x.dtype)


class SqueezeExcite(nn.Module):
    """Channel-wise gate (Hu et al. 2018): global mean, C/ratio, ReLU, C, sigmoid, scale.

    Attributes:
      ratio: by how much the hidden layer is narrower.
      dtype: of the computation.
    """

    ratio: int = 4
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, D, H, W, C] -> the same."""
        channels = x.shape[-1]
        gate = x.mean(axis=(1, 2, 3), dtype=jnp.float32).astype(self.dtype)  # [B, C]
        hidden = max(1, channels // self.ratio)
        gate = nn.relu(nn.Dense(hidden, dtype=self.dtype, name="squeeze")(gate))  # [B, C/ratio]
        gate = nn.sigmoid(nn.Dense(channels, dtype=self.dtype, name="excite")(gate))  # [B, C]
        return x * gate[:, None, None, None, :]


class ResidualSEStage(nn.Module):
    """conv, norm, ReLU, conv, norm, SE, plus the shortcut, ReLU, max-pooling.

    Attributes:
      features: output channels.
      add: whether the shortcut is added before or after pooling.
      pool_window: along z, y, x; None for no pooling.
      projection_bias: bias of the 1x1x1 projection, which stands where channels change.
      conv_bias: bias of the 3x3x3 convolutions.
      norm: see `normalization`.
      se: whether there is squeeze-and-excitation.
      se_ratio: see `SqueezeExcite`.
      residual: whether there is a shortcut.
      dtype: of the computation.
      axis_name: see `normalization`.
      conv: see `conv3d`.
      drop: rate of `stochastic_depth` in training; needs the shortcut.
    """

    features: int
    add: Literal["before_pool", "after_pool"] = "before_pool"
    pool_window: tuple[int, int, int] | None = (2, 2, 2)
    projection_bias: bool = False
    conv_bias: bool = False
    norm: Norm = "batch"
    se: bool = True
    se_ratio: int = 4
    residual: bool = True
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    conv: Form = "auto"
    drop: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, keys: jax.Array | None = None) -> jax.Array:
        """[B, D, H, W, C] -> [B, D/w, H/w, W/w, features].

        One key an example, [B], is needed in training with `drop` > 0.
        Where the shortcut is added before pooling, the map before pooling is sown as
        intermediates/before_pool. Without one, what would be added is 0.
        """

        def convolve(y: jax.Array, name: str) -> jax.Array:
            return Conv3D(
                self.features,
                use_bias=self.conv_bias,
                dtype=self.dtype,
                form=self.conv,
                name=f"conv{name}",
            )(y)

        def normalize(y: jax.Array, name: str) -> jax.Array:
            return normalization(
                self.norm, self.features, train, self.dtype, self.axis_name, f"norm{name}"
            )(y)

        y = nn.relu(normalize(convolve(x, "1"), "1"))  # [B, D, H, W, features]
        y = normalize(convolve(y, "2"), "2")
        if self.se:
            y = SqueezeExcite(self.se_ratio, self.dtype, name="se")(y)
        if train and self.drop > 0:
            if keys is None:
                raise ValueError("stochastic depth needs one key an example: pass keys [B].")
            y = stochastic_depth(y, keys, self.drop)
        if not self.residual:
            x = jnp.zeros_like(y)
        elif x.shape[-1] != self.features:
            x = nn.Dense(
                self.features, use_bias=self.projection_bias, dtype=self.dtype, name="projection"
            )(x)
        if self.pool_window is None:
            return nn.relu(x + y)
        if self.add == "before_pool":
            y = nn.relu(x + y)
            self.sow("intermediates", "before_pool", y)
            return max_pool(y, self.pool_window)
        return nn.relu(max_pool(x, self.pool_window) + max_pool(y, self.pool_window))
