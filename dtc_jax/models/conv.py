"""The one place for 3-D convolution: the same numbers by the form that is fastest where it runs.

Accelerators have good native kernels. XLA's on a CPU is slow, and a convolution over planes is
not, so there a 3-D convolution is made of 2-D ones (see `planes`). Measured by
benchmarks/conv3d.py and benchmarks/training.py.

The platform that the code is lowered for decides, not the one that traces it: what is exported on
a laptop for a GPU or a TPU contains native convolutions.
"""

import functools
from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dtc_jax.errors import unknown_choice
from dtc_jax.models import planes, winograd

Form = Literal["auto", "native", "planes", "patches", "winograd"]

_WINOGRAD_CHANNELS = 8  # with fewer, its sums cost what its products save
_PATCHES_SIDE = 16  # voxels: they take 27 times the memory of the image or more
_WINOGRAD_DEPTH = winograd.TILE - 1  # with less, the tile is mostly padding


def cpu_form(x: jax.Array, kernel: jax.Array, stride: int) -> Form:
    """What is fastest on a CPU, forward and backward: 'planes', 'patches' or 'winograd'."""
    if stride == 1 and min(x.shape[2:4]) < kernel.shape[1] and max(x.shape[1:4]) <= _PATCHES_SIDE:
        return "patches"
    wide = min(kernel.shape[3:]) >= _WINOGRAD_CHANNELS
    precise = x.dtype == jnp.float32
    small = kernel.shape[:3] == (3, 3, 3) and stride == 1
    if small and wide and precise and x.shape[1] >= _WINOGRAD_DEPTH:
        return "winograd"
    return "planes"


def conv3d(x: jax.Array, kernel: jax.Array, stride: int = 1, form: Form = "auto") -> jax.Array:
    """'SAME' 3-D convolution.

    In the forms for a CPU, what is made of x is computed again for the gradient rather than kept:
    that is cheap, and x takes a third of the memory or less.

    Args:
      x: [B, D, H, W, C].
      kernel: [k, k, k, C, F].
      stride: the same along all axes.
      form: 'native'; 'planes', 2-D convolutions with the depth-shifted planes as channels;
        'patches', a matrix product with all shifts as channels; 'winograd' (see `winograd`), which
        stands for 'planes' where the kernel is not 3x3x3 or the stride is not 1; or 'auto', which
        is `cpu_form` on a CPU and 'native' elsewhere.

    Returns:
      [B, ceil(D / stride), ceil(H / stride), ceil(W / stride), F].

    Raises:
      UsageError: an unknown form.
    """
    if form == "auto":
        on_cpu = functools.partial(conv3d, stride=stride, form=cpu_form(x, kernel, stride))
        native = functools.partial(conv3d, stride=stride, form="native")
        return lax.platform_dependent(x, kernel, cpu=on_cpu, default=native)
    if form == "native":
        return lax.conv_general_dilated(
            x, kernel, (stride,) * 3, "SAME", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
        )
    if form == "winograd" and stride == 1 and kernel.shape[:3] == (3, 3, 3):
        made = winograd.conv3d
    elif form in ("planes", "winograd"):
        made = functools.partial(planes.by_planes, stride=stride)
    elif form == "patches":
        made = functools.partial(planes.by_patches, stride=stride)
    else:
        raise unknown_choice("conv", form, get_args(Form))
    return jax.checkpoint(made)(x, kernel)


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
