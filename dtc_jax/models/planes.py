"""3-D convolution out of the operations that XLA does well on a CPU: 2-D ones and products.

XLA's 2-D convolution of images with channels last is fast there, and its 3-D one is not. So are
some 2-D ones: with a stride or a dilation, which the gradient of a stride has, and where the kernel
is larger than the image, as XLA then exchanges the two. They are made of others here.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

Pads = Sequence[tuple[int, int]]


def conv2d(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """2-D convolution, stride 1, fused with nothing before or after it.

    Its gradient turns `x` and the cotangent around in memory. Fused with the sums that make them,
    that takes longer than the convolution itself; by barriers (which a training step under jit
    keeps, see `training.parallel`) the sums come first, and the turning is a plain copy.

    Args:
      x: [N, H, W, C].
      kernel: [k, k, C, F].
      pads: zeros before and after x along H and W.

    Returns:
      [N, H', W', F].
    """
    dimensions = ("NHWC", "HWIO", "NHWC")
    x = lax.optimization_barrier(x)
    y = lax.conv_general_dilated(x, kernel, (1, 1), list(pads), dimension_numbers=dimensions)
    return lax.optimization_barrier(y)


def unstrided(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, jax.Array, Pads]:
    """Another input and kernel whose convolution of stride 1 is that of `stride`, and its pads.

    Blocks of `stride` voxels a side become channels, so that the kernel moves on by whole blocks.

    Args:
      x: [B, D, H, W, C].
      kernel: [k, k, k, C, F].
      stride: the same along all axes; zeros around x are those of 'SAME'.
    """
    sides, sizes = x.shape[1:4], kernel.shape[:3]
    pads = lax.padtype_to_pads(sides, sizes, (stride,) * 3, "SAME")
    if stride == 1:
        return x, kernel, pads
    ends = [(low, -(low + n) % stride) for n, (low, _) in zip(sides, pads, strict=True)]
    x = jnp.pad(x, ((0, 0), *ends, (0, 0)))
    batch, *grown, channels = x.shape  # the batch may be symbolic
    blocks = [n // stride for n in grown]
    x = x.reshape(batch, *(n for count in blocks for n in (count, stride)), channels)
    x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch, *blocks, stride**3 * channels)

    more = [(0, -k % stride) for k in sizes]
    kernel = jnp.pad(kernel, (*more, (0, 0), (0, 0)))
    *grown, _, filters = kernel.shape
    counts = [k // stride for k in grown]
    kernel = kernel.reshape(*(n for count in counts for n in (count, stride)), channels, filters)
    kernel = kernel.transpose(0, 2, 4, 1, 3, 5, 6, 7).reshape(*counts, -1, filters)
    # What is left of the zeros is whole blocks after x.
    steps = [-(-n // stride) - 1 for n in sides]
    after = [step + k - n for step, k, n in zip(steps, counts, blocks, strict=True)]
    return x, kernel, [(0, n) for n in after]


def by_planes(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """'SAME' 3-D convolution: the 2-D one of planes that have their neighbours as channels.

    Args:
      x: [B, D, H, W, C].
      kernel: [k, k, k, C, F].
      stride: the same along all axes.

    Returns:
      [B, ceil(D / stride), ceil(H / stride), ceil(W / stride), F].
    """
    x, kernel, pads = unstrided(x, kernel, stride)
    planes = _shifted(x, kernel.shape[0], pads[0], axis=1)  # [B, D', H, W, k * C]
    flat = kernel.transpose(1, 2, 0, 3, 4).reshape(*kernel.shape[1:3], -1, kernel.shape[-1])
    batch, depth, *plane = planes.shape
    y = conv2d(planes.reshape(batch * depth, *plane), flat, pads[1:])
    return y.reshape(batch, depth, *y.shape[1:])  # [B, D', H', W', F]


def by_patches(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The same as one matrix product, of every voxel's surroundings by the kernel.

    It takes k^3 times the memory of x, so it is for small images.

    Args:
      x: [B, D, H, W, C].
      kernel: [k, k, k, C, F].
      stride: the same along all axes.

    Returns:
      [B, ceil(D / stride), ceil(H / stride), ceil(W / stride), F].
    """
    x, kernel, pads = unstrided(x, kernel, stride)
    for axis in range(3):
        x = _shifted(x, kernel.shape[axis], pads[axis], axis + 1)
    flat = kernel.transpose(2, 1, 0, 3, 4).reshape(-1, kernel.shape[-1])  # [k * k * k * C, F]
    return jnp.matmul(x, flat)


def _shifted(x: jax.Array, size: int, pads: tuple[int, int], axis: int) -> jax.Array:
    """What a kernel of `size` sees at once along `axis`, as channels, the first place first."""
    around = [pads if i == axis else (0, 0) for i in range(x.ndim)]
    x = jnp.pad(x, around)
    count = x.shape[axis] - size + 1
    return jnp.concatenate(
        [lax.slice_in_dim(x, k, k + count, axis=axis) for k in range(size)], axis=-1
    )
