"""Perturbed regions: moved and grown by as much as asked for, and never gone."""

import numpy as np
import pytest

from dtc_jax.errors import UsageError
from dtc_jax.imaging import perturb
from dtc_jax.imaging.perturb import Perturbation
from dtc_jax.imaging.volume import Volume

SPACING_MM = np.array([2.0, 1.0, 0.5])


def ball(radius_mm: float, shape=(30, 60, 120)) -> Volume:
    away_mm = (np.moveaxis(np.indices(shape), 0, -1) - np.array(shape) // 2) * SPACING_MM
    return Volume((away_mm**2).sum(-1) <= radius_mm**2, np.diag([*SPACING_MM, 1.0]))


def middles_mm(spec: Perturbation, region: Volume, count: int = 40) -> np.ndarray:
    moved = [perturb.perturbed(region, spec, np.random.default_rng(i)) for i in range(count)]
    return np.array([np.argwhere(one.array).mean(0) * SPACING_MM for one in moved])


@pytest.mark.extras
def test_a_shift_is_of_its_length_in_every_direction():
    region = ball(8.0)
    start = np.argwhere(region.array).mean(0) * SPACING_MM
    away = middles_mm(Perturbation(shift_mm=3.0, grow_mm=0.0), region) - start
    length_mm = np.linalg.norm(away, axis=1)
    np.testing.assert_allclose(length_mm, 3.0, atol=0.6)  # slices are 2 mm apart
    assert length_mm.mean() == pytest.approx(3.0, abs=0.1)
    assert (np.ptp(away, axis=0) > 3.0).all()  # along every axis, either way


@pytest.mark.extras
def test_growth_moves_the_surface_by_the_distance_outwards_or_inwards():
    region = ball(10.0)
    mm3 = [
        perturb.perturbed(region, Perturbation(0.0, 2.0), np.random.default_rng(i)).array.sum()
        for i in range(20)
    ]
    radii = (np.array(mm3) / region.array.sum()) ** (1 / 3) * 10.0
    np.testing.assert_allclose(np.abs(radii - 10.0), 2.0, atol=0.3)
    assert 4 <= (radii > 10.0).sum() <= 16


@pytest.mark.parametrize("radius_mm", [2.0, 4.0, pytest.param(8.0, marks=pytest.mark.extras)])
def test_what_is_less_than_a_voxel_perturbs_every_region(radius_mm):
    region = ball(radius_mm)
    for i in range(20):
        moved = perturb.perturbed(region, Perturbation(), np.random.default_rng(i)).array
        shared = 2 * (moved & region.array).sum() / (moved.sum() + region.array.sum())
        assert 0.5 < shared < 1


def test_no_strength_leaves_the_region_as_it_is():
    rng = np.random.default_rng(0)
    for region in (ball(2.0), ball(7.0), Volume(rng.random((5, 6, 7)) < 0.5, np.eye(4))):
        still = perturb.perturbed(region, Perturbation(0.0, 0.0), rng)
        np.testing.assert_array_equal(still.array, region.array)


def test_a_small_region_does_not_vanish_and_one_at_the_edge_stays_inside():
    tiny = np.zeros((4, 4, 4), bool)
    tiny[0, 0, 0] = True
    for i in range(30):
        moved = perturb.perturbed(
            Volume(tiny, np.eye(4)), Perturbation(4.0, 3.0), np.random.default_rng(i)
        )
        assert moved.array.any()
        assert moved.array.shape == tiny.shape


def test_the_same_seed_draws_the_same_region():
    one, other, third = (
        perturb.perturbed(ball(6.0), Perturbation(2.0, 1.0), np.random.default_rng(seed)).array
        for seed in (1, 1, 2)
    )
    assert (one == other).all()
    assert (one != third).any()


@pytest.mark.parametrize("length", [-1.0, float("nan"), float("inf")])
def test_a_length_below_zero_or_without_end_is_refused(length):
    with pytest.raises(UsageError, match="shift_mm"):
        Perturbation(shift_mm=length)
