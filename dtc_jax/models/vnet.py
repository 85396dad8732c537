"""SE V-Net, the study's segmenter of lung metastases (Milletari et al. 2016; Hu et al. 2018)."""

import functools
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from dtc_jax.models.conv import Conv3D, Form
from dtc_jax.models.layers import Norm, SqueezeExcite, normalization

Activation = Literal["prelu", "relu", "leaky_relu", "elu"]
Up = Literal["transposed", "resize"]


class VNet(nn.Module):
    """A residual encoder and decoder that halve and double the grid, with skip connections.

    The defaults are V-Net's published form with squeeze-and-excitation in both halves; the study
    names no more of its network than "SE V-Net". Any input size will do: up to the next size that
    can be halved at every level, the input goes on as its mirror image. (Zeros at a level of odd
    size would do too, but what a network trained on even sizes makes of them is lesion, slabs of
    it along the far faces.)

    Attributes:
      widths: channels of each level, the finest first; as many levels as the network is deep.
      convolutions: how many each stage of a level has; same length as `widths`.
      kernel_size: of those convolutions.
      stem_stride: 1 in V-Net; 2 computes on half the grid, at an eighth of the cost, and gives the
        eight voxels of each of its points a logit each.
      se: which half has a squeeze-and-excitation block in each stage; the coarsest stage belongs
        to the encoder.
      se_ratio: by how much the hidden layer of squeeze-and-excitation is narrower.
      residual: whether what enters a stage is added to what its convolutions make of it.
      norm: 'batch', 'instance' or 'group'. After 'instance' every channel of an example has the
        same mean, its bias, so squeeze-and-excitation sees nothing of the image.
      activation: 'prelu' has one learnt slope a layer.
      up: 'transposed' is a 2x2x2 transposed convolution; 'resize' repeats voxels and convolves.
      deep_supervision: whether, in training, the coarser levels of the decoder give logits too.
      dtype: of the computation; parameters, statistics and logits are float32.
      axis_name: mapped axis over which batch statistics are averaged (pmap), or None.
      conv: form of the convolution, see `conv3d`.
      remat: whether the activations inside a stage are computed again for its gradient rather than
        kept, to save memory for time. Tiny networks need more.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    convolutions: tuple[int, ...] = (1, 2, 3, 3, 3)
    kernel_size: int = 5
    stem_stride: int = 1
    se: Literal["both", "encoder", "decoder", "none"] = "both"
    se_ratio: int = 4
    residual: bool = True
    norm: Norm = "batch"
    activation: Activation = "prelu"
    up: Up = "transposed"
    deep_supervision: bool = False
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    conv: Form = "auto"
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Logits of the voxels: is it lesion?

        Args:
          x: [B, D, H, W, C] in [0, 1].
          train: whether batch statistics are used.

        Returns:
          [B, D, H, W] float32. In training with deep supervision [S, B, D, H, W], the finest
          level first, the others with each voxel repeated to the full grid.
        """
        if len(self.widths) != len(self.convolutions):
            raise ValueError(
                f"widths={self.widths} and convolutions={self.convolutions} must have one number "
                "for each level."
            )
        if len(self.widths) < 2:
            raise ValueError(f"widths={self.widths}: give two levels or more.")
        kept = not (self.remat and train)
        stage = functools.partial(
            _Stage if kept else nn.remat(_Stage, static_argnums=(3,)),  # `train`
            kernel_size=self.kernel_size,
            se_ratio=self.se_ratio,
            residual=self.residual,
            norm=self.norm,
            activation=self.activation,
            dtype=self.dtype,
            axis_name=self.axis_name,
            conv=self.conv,
        )
        levels = list(enumerate(zip(self.widths, self.convolutions, strict=True), start=1))
        encodes = self.se in ("both", "encoder")
        decodes = self.se in ("both", "decoder")
        size, skips = x.shape[1:4], list[jax.Array]()
        step = self.stem_stride * 2 ** (len(levels) - 1)
        margins = [(0, 0), *((0, -n % step) for n in size), (0, 0)]
        x = jnp.pad(x, margins, mode="symmetric")
        if self.stem_stride > 1:
            stride, width = self.stem_stride, self.widths[0]
            x = Conv3D(width, stride, stride, dtype=self.dtype, form=self.conv, name="stem")(x)
            x = self._normalized(x, width, train, "stem")  # [B, D/s, H/s, W/s, C]
        for i, (width, count) in levels:
            if skips:
                x = Conv3D(width, 2, 2, dtype=self.dtype, form=self.conv, name=f"down{i}")(x)
                x = self._normalized(x, width, train, f"down{i}")  # [B, D/2, H/2, W/2, 2 C]
            x = stage(width, count, se=encodes, name=f"encoder{i}")(x, x, train)
            skips.append(x)
        heads: list[jax.Array] = []  # the coarsest first
        for i, (width, count) in reversed(levels[:-1]):
            skip = skips[i - 1]
            if self.up == "transposed":
                x = TransposedConv3D(width, dtype=self.dtype, name=f"up{i}")(x)
            else:
                x = Conv3D(width, 3, dtype=self.dtype, form=self.conv, name=f"up{i}")(_repeat(x, 2))
            x = self._normalized(x, width, train, f"up{i}")  # [B, 2 D, 2 H, 2 W, C/2]
            joined = jnp.concatenate([x, skip], axis=-1)  # [B, D, H, W, 2 C]
            x = stage(width, count, se=decodes, name=f"decoder{i}")(joined, x, train)
            if i == 1 or self.deep_supervision:
                head = nn.Dense(self.stem_stride**3, dtype=jnp.float32, name=f"head{i}")(x)
                full = _repeat(_spread(head, self.stem_stride), 2 ** (i - 1))
                heads.append(full[:, : size[0], : size[1], : size[2], 0])  # [B, D, H, W]
        return jnp.stack(heads[::-1]) if train and self.deep_supervision else heads[-1]

    def _normalized(self, x: jax.Array, width: int, train: bool, name: str) -> jax.Array:
        norm = normalization(self.norm, width, train, self.dtype, self.axis_name, f"{name}_norm")
        return activate(self.activation, f"{name}_activation")(norm(x))


class _Stage(nn.Module):
    """Convolutions with norm and activation, SE, plus the shortcut if residual, activation."""

    features: int
    count: int
    kernel_size: int
    se: bool
    se_ratio: int
    residual: bool
    norm: Norm
    activation: Activation
    dtype: jnp.dtype
    axis_name: str | None
    conv: Form

    @nn.compact
    def __call__(self, x: jax.Array, shortcut: jax.Array, train: bool) -> jax.Array:
        """[B, D, H, W, C], and what is added: `features` channels, or 1 for all of them."""
        for i in range(1, self.count + 1):
            x = Conv3D(
                self.features,
                self.kernel_size,
                dtype=self.dtype,
                form=self.conv,
                name=f"conv{i}",
            )(x)  # [B, D, H, W, features]
            x = normalization(
                self.norm, self.features, train, self.dtype, self.axis_name, f"norm{i}"
            )(x)
            if i < self.count:
                x = activate(self.activation, f"activation{i}")(x)
        if self.se:
            x = SqueezeExcite(self.se_ratio, self.dtype, name="se")(x)
        x = x + shortcut if self.residual else x
        return activate(self.activation, f"activation{self.count}")(x)


class TransposedConv3D(nn.Module):
    """2x2x2 transposed convolution of stride 2: each voxel becomes eight, by one matrix product.

    Its windows do not overlap, so no scatter is needed; XLA's general form is slow on a CPU
    (jax-ml/jax#31662).

    Attributes:
      features: output channels.
      dtype: of the computation; parameters are float32.
    """

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, D, H, W, C] -> [B, 2 D, 2 H, 2 W, features]."""
        channels = x.shape[-1]
        kernel = self.param(
            "kernel",
            nn.initializers.he_normal(in_axis=0, out_axis=(1, 2, 3, 4)),
            (channels, 2, 2, 2, self.features),
            jnp.float32,
        )
        y = jnp.matmul(x.astype(self.dtype), kernel.astype(self.dtype).reshape(channels, -1))
        return _spread(y, 2)


def activate(kind: Activation, name: str) -> Callable[[jax.Array], jax.Array]:
    """The activation `kind`, as a layer called `name` where it has a parameter."""
    if kind == "prelu":
        return nn.PReLU(name=name)
    functions = {"relu": nn.relu, "leaky_relu": nn.leaky_relu, "elu": nn.elu}
    if kind not in functions:
        raise ValueError(f"activation={kind!r}: choose prelu, relu, leaky_relu or elu.")
    return functions[kind]


def _spread(x: jax.Array, times: int) -> jax.Array:
    """Channels become voxels. # [B, D, H, W, t^3 C] -> [B, t D, t H, t W, C]"""
    batch, depth, height, wide, _ = x.shape
    x = x.reshape(batch, depth, height, wide, times, times, times, -1)
    x = x.transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(batch, times * depth, times * height, times * wide, -1)


def _repeat(x: jax.Array, times: int) -> jax.Array:
    """Every voxel `times` times along each axis. # [B, D, H, W, C] -> [B, t D, t H, t W, C]"""
    batch, depth, height, wide, channels = x.shape
    x = jnp.broadcast_to(
        x[:, :, None, :, None, :, None, :],
        (batch, depth, times, height, times, wide, times, channels),
    )
    return x.reshape(batch, times * depth, times * height, times * wide, channels)
