"""How long work takes, in words."""

import pytest

from dtc_jax import progress


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (24, "under a minute"),
        (31.2 * 60, "about 31 min"),
        (600 * 60, "about 10 h"),
        (20_000 * 60, "about 14 days"),
    ],
)
def test_durations_are_said_in_the_unit_that_fits(seconds, said):
    assert progress.duration(seconds) == said
