"""What Winograd's algorithm combines."""

import numpy as np
import pytest

from dtc_jax.models import winograd

# F(4, 3) as Lavin and Gray 2016 print it.
_OF_INPUT = (
    (4.0, 0.0, -5.0, 0.0, 1.0, 0.0),
    (0.0, -4.0, -4.0, 1.0, 1.0, 0.0),
    (0.0, 4.0, -4.0, -1.0, 1.0, 0.0),
    (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
    (0.0, 2.0, -1.0, -2.0, 1.0, 0.0),
    (0.0, 4.0, 0.0, -5.0, 0.0, 1.0),
)
_OF_KERNEL = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)
_OF_RESULT = (
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 2.0, -2.0, 0.0),
    (0.0, 1.0, 1.0, 4.0, 4.0, 0.0),
    (0.0, 1.0, -1.0, 8.0, -8.0, 1.0),
)


def test_four_results_of_three_numbers_are_as_published():
    found = winograd.transforms(4, 3)
    for matrix, published in zip(found, (_OF_INPUT, _OF_KERNEL, _OF_RESULT), strict=True):
        np.testing.assert_array_equal(matrix, published)


@pytest.mark.parametrize(("tile", "size"), [(2, 3), (3, 3), (4, 3), (2, 5)])
def test_the_combinations_are_those_of_a_convolution(tile, size):
    rng = np.random.default_rng(tile)
    x, kernel = rng.normal(size=tile + size - 1), rng.normal(size=size)
    of_input, of_kernel, of_result = winograd.transforms(tile, size)
    got = of_result @ ((of_kernel @ kernel) * (of_input @ x))
    np.testing.assert_allclose(got, np.correlate(x, kernel), rtol=1e-10, atol=1e-12)
    assert len(of_input) == tile + size - 1 < tile * size
