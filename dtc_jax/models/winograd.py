"""3x3x3 convolution with half the multiplications: Winograd's F(4, 3) along depth.

Four output planes need twelve 2-D convolutions of input planes when done directly and six here: of
six fixed combinations of the six input planes they depend on (Lavin and Gray 2016, "Fast Algorithms
for Convolutional Neural Networks"). Only along depth: along a second axis as well, the sums between
the convolutions cost more than is saved (benchmarks/conv3d.py).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dtc_jax.models.planes import conv2d

TILE = 4  # output planes computed together
_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)  # of the polynomials that are multiplied, and infinity


def transforms(tile: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F(m, k): m results of a kernel of k numbers by n = m + k - 1 products, of at most 6.

    The results are `of_result @ ((of_kernel @ kernel) * (of_input @ x))`; F(4, 3) is printed in
    Lavin and Gray 2016.

    Args:
      tile: m.
      size: k.

    Returns:
      [n, n], [n, k] and [m, n] float64: what is combined of the input, of the kernel and of the
      products.
    """
    points = np.array(_POINTS[: tile + size - 2])
    of_input = np.zeros((len(points) + 1, len(points) + 1))
    of_kernel = np.zeros((len(points) + 1, size))
    of_result = np.zeros((tile, len(points) + 1))
    for i, point in enumerate(points):
        others = np.delete(points, i)
        of_input[i, :-1] = np.poly(others)[::-1]
        of_kernel[i] = point ** np.arange(size) / np.prod(point - others)
        of_result[:, i] = point ** np.arange(tile)
    of_input[-1] = np.poly(points)[::-1]
    of_kernel[-1, -1] = of_result[-1, -1] = 1.0
    return of_input, of_kernel, of_result


# Rows: what is convolved, by what, and the TILE output planes.
_OF_INPUT, _OF_KERNEL, _OF_RESULT = (matrix.tolist() for matrix in transforms(TILE, 3))


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
    x = jnp.pad(x, ((0, 0), (0, tiles * TILE - depth), (0, 0), (0, 0), (0, 0)))
    x = x.reshape(batch, tiles, TILE, height, width, channels)
    # The k-th input plane of every tile, TILE + 2 times [B, D/4, H, W, C]. The first and the last
    # are of the tiles before and after; slices of a padded array would take three times as long.
    nothing = jnp.zeros_like(x[:, :1, 0])
    before = jnp.concatenate([nothing, x[:, :-1, -1]], axis=1)
    after = jnp.concatenate([x[:, 1:, 0], nothing], axis=1)
    seen = [before, *(x[:, :, k] for k in range(TILE)), after]
    results = [  # each [B * D/4, H, W, F]
        conv2d(
            _combine(of_input, seen).reshape(batch * tiles, height, width, channels),
            _combine(of_kernel, list(kernel)),
            ((1, 1), (1, 1)),
        )
        for of_input, of_kernel in zip(_OF_INPUT, _OF_KERNEL, strict=True)
    ]
    y = jnp.stack([_combine(row, results) for row in _OF_RESULT], axis=1)  # [B*D/4, 4, H, W, F]
    return y.reshape(batch, tiles * TILE, height, width, -1)[:, :depth]


def _combine(coefficients: Sequence[float], arrays: Sequence[jax.Array]) -> jax.Array:
    terms = [c * a for c, a in zip(coefficients, arrays, strict=True) if c]
    return sum(terms[1:], start=terms[0])
