"""3x3x3 convolution with half the multiplications: Winograd's F(4, 3) along depth.

Four output planes need twelve 2-D convolutions of input planes when done directly and six here: of
six fixed combinations of the six input planes they depend on (Lavin and Gray 2016, "Fast Algorithms
for Convolutional Neural Networks"). Only along depth: along a second axis as well, the sums between
the convolutions cost more than is saved (benchmarks/conv3d.py).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

TILE = 4  # output planes computed together

# Rows: what is convolved; columns: the TILE + 2 input planes.
_OF_INPUT = (
    (4.0, 0.0, -5.0, 0.0, 1.0, 0.0),
    (0.0, -4.0, -4.0, 1.0, 1.0, 0.0),
    (0.0, 4.0, -4.0, -1.0, 1.0, 0.0),
    (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
    (0.0, 2.0, -1.0, -2.0, 1.0, 0.0),
    (0.0, 4.0, 0.0, -5.0, 0.0, 1.0),
)
# Rows: by what it is convolved; columns: the three planes of the kernel.
_OF_KERNEL = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)
# Rows: the TILE output planes; columns: the six results.
_OF_RESULT = (
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 2.0, -2.0, 0.0),
    (0.0, 1.0, 1.0, 4.0, 4.0, 0.0),
    (0.0, 1.0, -1.0, 8.0, -8.0, 1.0),
)


def conv3d(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """'SAME' 3-D convolution, stride 1. Meant for float32: bfloat16 would lose too many digits.

    Args:
      x: [B, D, H, W, C].
      kernel: [3, 3, 3, C, F].

    Returns:
      [B, D, H, W, F].
    """
    batch, depth, height, width, channels = x.shape
    tiles = -(-depth // TILE)
    x = jnp.pad(x, ((0, 0), (1, 1 + tiles * TILE - depth), (0, 0), (0, 0), (0, 0)))
    span = (tiles - 1) * TILE + 1
    planes = [  # TILE + 2 times [B, D/4, H, W, C]: the k-th input plane of every tile
        lax.slice_in_dim(x, k, k + span, TILE, axis=1) for k in range(TILE + 2)
    ]
    results = [  # each [B * D/4, H, W, F]
        lax.conv_general_dilated(
            _combine(of_input, planes).reshape(batch * tiles, height, width, channels),
            _combine(of_kernel, list(kernel)),
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        for of_input, of_kernel in zip(_OF_INPUT, _OF_KERNEL, strict=True)
    ]
    y = jnp.stack([_combine(row, results) for row in _OF_RESULT], axis=1)  # [B*D/4, 4, H, W, F]
    return y.reshape(batch, tiles * TILE, height, width, -1)[:, :depth]


def _combine(coefficients: Sequence[float], arrays: Sequence[jax.Array]) -> jax.Array:
    terms = [c * a for c, a in zip(coefficients, arrays, strict=True) if c]
    return sum(terms[1:], start=terms[0])
