"""Agreement of masks against brute force in mm, and lesions matched by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import distance

from dtc_jax.imaging import lesions
from dtc_jax.imaging.agreement import agreement, by_lesion
from dtc_jax.imaging.volume import Volume

SPACING_MM = np.array([2.5, 0.7, 0.9])
AFFINE = np.diag([*SPACING_MM, 1.0])
SHAPE = (12, 30, 28)


def _ball(center, radius_mm) -> np.ndarray:
    away_mm = (np.moveaxis(np.indices(SHAPE), 0, -1) - center) * SPACING_MM
    return (away_mm**2).sum(axis=-1) < radius_mm**2


def _volume(array) -> Volume:
    return Volume(array, AFFINE)


def _surface_mm(mask: np.ndarray) -> np.ndarray:
    """Places of the voxels with a neighbour outside, one voxel after the other. # [N, 3]"""
    places = []
    for voxel in np.argwhere(mask):
        for step in np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)]):
            other = voxel + step
            inside = (other >= 0).all() and (other < SHAPE).all()
            if not inside or not mask[tuple(other)]:
                places.append(voxel * SPACING_MM)
                break
    return np.array(places)


@pytest.mark.parametrize("tolerance_mm", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_surfaces_agree_with_brute_force(seed, tolerance_mm):
    rng = np.random.default_rng(seed)
    a, b = (_ball(rng.uniform((4, 10, 10), (9, 15, 15)), rng.uniform(5, 8)) for _ in range(2))
    a[0, :3, :3] = True  # at the corner of the scan, far away
    found = agreement(_volume(a), _volume(b), tolerance_mm)
    apart_mm = distance.cdist(_surface_mm(a), _surface_mm(b))
    to_b, to_a = apart_mm.min(axis=1), apart_mm.min(axis=0)
    near = (to_b <= tolerance_mm).sum() + (to_a <= tolerance_mm).sum()
    assert found.surface_dice == pytest.approx(near / (len(to_b) + len(to_a)))
    farthest_mm = max(np.percentile(to_b, 95), np.percentile(to_a, 95))
    assert found.hausdorff_95_mm == pytest.approx(farthest_mm, rel=1e-5)
    assert found.dice == pytest.approx(1 - distance.dice(a.ravel(), b.ravel()))
    for value, mask in ((found.found_mm3, a), (found.true_mm3, b)):
        assert value == pytest.approx(mask.sum() * np.prod(SPACING_MM))


def test_shifted_plates_lie_as_far_apart_as_they_were_shifted():
    a, b = np.zeros((2, *SHAPE), bool)
    a[2:4], b[6:8] = True, True
    found = agreement(_volume(a), _volume(b))
    assert found.hausdorff_95_mm == pytest.approx(4 * 2.5)
    assert (found.dice, found.surface_dice) == (0.0, 0.0)
    assert agreement(_volume(a), _volume(b), 10.0).surface_dice == 1.0


def test_equal_masks_agree_fully_and_empty_ones_have_no_figure():
    ball, empty = _volume(_ball((6, 15, 14), 6)), _volume(np.zeros(SHAPE, bool))
    same = agreement(ball, ball)
    assert (same.dice, same.surface_dice, same.hausdorff_95_mm) == (1.0, 1.0, 0.0)
    for one_empty in (agreement(ball, empty), agreement(empty, ball)):
        assert (one_empty.dice, one_empty.surface_dice) == (0.0, 0.0)
        assert np.isnan(one_empty.hausdorff_95_mm)
    both = agreement(empty, empty)
    assert np.isnan([both.dice, both.surface_dice, both.hausdorff_95_mm]).all()
    assert (both.found_mm3, both.true_mm3) == (0.0, 0.0)


def test_lesions_are_matched_once_each():
    truth, found = np.zeros((2, *SHAPE), np.uint16)
    truth[2, 2:6, 2:6] = 1  # found, but half
    truth[2, 10:14, 2:6] = 2  # found together with the next one, as one piece
    truth[2, 15:19, 2:6] = 3
    truth[8, 2:6, 2:6] = 5  # missed; there is no lesion 4
    truth[8, 20:24, 20:24] = 6  # lost in a piece that is far too large
    found[2, 2:4, 2:6] = 1
    found[2, 10:19, 2:6] = 2
    found[8, 12:14, 12:14] = 3  # nothing there
    found[4:12, 15:30, 15:28] = 4
    scores = pd.Series([0.9, 0.8, 0.7, 0.6], index=[1, 2, 3, 4])
    rows, candidates = by_lesion(_volume(found), _volume(truth), scores)
    assert rows.lesion_id.tolist() == [1, 2, 3, 5, 6]
    assert rows.is_found.tolist() == [True, True, True, False, False]
    # Of the shared piece (36 voxels), 16 are in each lesion and 4 in neither.
    huge = 8 * 15 * 13
    expected = [16 / 24, 32 / 36, 32 / 36, 0.0, 32 / (16 + huge)]
    np.testing.assert_allclose(rows.dice, expected)
    np.testing.assert_allclose(rows.score[:3], [0.9, 0.8, 0.8])
    assert rows.score[3:].isna().all()
    assert candidates.is_false.tolist() == [False, False, True, True]
    assert candidates.score.tolist() == scores.tolist()
    first = _volume(truth == 1)
    assert rows.diameter_mm[0] == pytest.approx(lesions.measure(first, first).diameter_mm)
    np.testing.assert_allclose(rows.volume_mm3, 16 * np.prod(SPACING_MM))


def test_without_lesions_on_a_side_the_tables_have_their_columns():
    empty, ball = np.zeros(SHAPE, np.uint16), _ball((6, 15, 14), 6).astype(np.uint16)
    none = pd.Series([], index=pd.Index([], dtype=int), dtype=float)
    rows, candidates = by_lesion(_volume(ball), _volume(empty), pd.Series([0.9], index=[1]))
    assert len(rows) == 0
    assert "dice" in rows
    assert candidates.is_false.tolist() == [True]
    rows, candidates = by_lesion(_volume(empty), _volume(ball), none)
    assert rows.is_found.tolist() == [False]
    assert len(candidates) == 0
