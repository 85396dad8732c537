"""The one place for 3-D convolution: the same numbers by the form that is fastest where it runs.

XLA's 3-D convolution is slow on a CPU (design measurements: benchmarks/conv3d.py). There the kernel
is applied as 2-D convolutions: the depth-shifted planes are laid side by side as channels and one
2-D convolution does the rest. Accelerators have good native kernels.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

Form = Literal["auto", "native", "planes"]


def conv3d(x: jax.Array, kernel: jax.Array, stride: int = 1, form: Form = "auto") -> jax.Array:
    """'SAME' 3-D convolution.

    Args:
      x: [B, D, H, W, C].
      kernel: [kd, kh, kw, C, F].
      stride: the same along all axes.
      form: 'native', 'planes', or 'auto' for the faster one on JAX's default backend.

    Returns:
      [B, ceil(D / stride), ceil(H / stride), ceil(W / stride), F].
    """
    if form == "auto":
        form = "planes" if jax.default_backend() == "cpu" else "native"
    if form == "native":
        return lax.conv_general_dilated(
            x, kernel, (stride,) * 3, "SAME", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
        )
    return _planes(x, kernel, stride)


def _planes(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    batch, depth, height, width, channels = x.shape
    kd, kh, kw, _, filters = kernel.shape
    low, high = lax.padtype_to_pads((depth,), (kd,), (stride,), "SAME")[0]
    x = jnp.pad(x, ((0, 0), (low, high), (0, 0), (0, 0), (0, 0)))
    out_depth = (depth + stride - 1) // stride
    last = (out_depth - 1) * stride + 1
    shifted = [lax.slice_in_dim(x, k, k + last, stride, axis=1) for k in range(kd)]
    planes = jnp.concatenate(shifted, axis=-1)  # [B, D', H, W, kd * C]
    planes = planes.reshape(batch * out_depth, height, width, kd * channels)
    flat = kernel.transpose(1, 2, 0, 3, 4).reshape(kh, kw, kd * channels, filters)
    y = lax.conv_general_dilated(
        planes, flat, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y.reshape(batch, out_depth, *y.shape[1:])  # [B, D', H', W', F]


class Conv3D(nn.Module):
    """3-D convolution with He-normal kernels.

    Attributes:
      features: output channels.
      kernel_size: along each axis.
      stride: along each axis.
      use_bias: whether a bias is added.
      dtype: of the computation; parameters are float32.
      form: see `conv3d`.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    use_bias: bool = False
    dtype: jnp.dtype = jnp.float32
    form: Form = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, D, H, W, C] -> [B, D', H', W', features]."""
        kernel = self.param(
            "kernel",
            nn.initializers.he_normal(),
            (*(self.kernel_size,) * 3, x.shape[-1], self.features),
            jnp.float32,
        )
        y = conv3d(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.form)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            y = y + bias.astype(self.dtype)[None, None, None, None, :]
        return y
