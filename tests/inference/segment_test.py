"""A scan through the segmenter: with a network that sees density, lesions have known places."""

import jax
import numpy as np
import pytest
from scipy.spatial import transform

from dtc_jax.errors import InputError
from dtc_jax.imaging import instances
from dtc_jax.imaging.instances import Instances
from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.segment import Segmenter, segment
from dtc_jax.inference.sliding_window import SlidingWindow

SHAPE, SPACING_MM = (44, 70, 90), np.array([4.0, 2.6, 2.6])
AFFINE = np.eye(4)
AFFINE[:3, :3] = (
    transform.Rotation.from_euler("xyz", (4, -5, 3), degrees=True).as_matrix()[:, ::-1] * SPACING_MM
)
AFFINE[:3, 3] = (-110.0, -80.0, 12.0)
NODULES = {(20.0, 40.0, 25.0): 9.0, (30.0, 28.0, 66.0): 7.0, (14.0, 40.0, 62.0): 5.5}  # radii in mm


def _ball(center, radii_mm) -> np.ndarray:
    away_mm = (np.moveaxis(np.indices(SHAPE), 0, -1) - center) * SPACING_MM
    return ((away_mm / radii_mm) ** 2).sum(axis=-1) < 1


def _chest(nodules) -> Volume:
    _, y, x = np.indices(SHAPE)
    hu = np.where(((y - 35) / 32) ** 2 + ((x - 45) / 42) ** 2 < 1, 40, -1000).astype(np.int16)
    for center in ((22, 35, 26), (22, 35, 64)):
        hu[_ball(center, (75.0, 65.0, 40.0))] = -860
    for center, radius_mm in nodules.items():
        hu[_ball(center, radius_mm)] = 30
    return Volume(hu, AFFINE)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(
        predict=jax.jit(lambda hu: jax.nn.sigmoid((hu + 400) / 50)),
        spec=Preprocess(spacing_mm=2.0),
        windows=SlidingWindow((32, 32, 32), batch=4),
        instances=Instances(min_volume_mm3=50.0),
    )


def test_lesions_are_found_where_they_are_on_the_scans_own_grid(segmenter):
    scan = _chest(NODULES)
    found = segment(segmenter, scan)
    assert len(found.lesions) == len(NODULES)
    assert found.mask.shape == found.lungs.shape == SHAPE
    np.testing.assert_array_equal(found.mask.affine, AFFINE)
    by_size = sorted(NODULES.items(), key=lambda one: -one[1])
    for row, (center, radius_mm) in zip(found.lesions.itertuples(), by_size, strict=True):
        place_mm = [row.center_x_mm, row.center_y_mm, row.center_z_mm]
        np.testing.assert_allclose(place_mm, scan.world(center), atol=2.0)
        truth = _ball(center, radius_mm)
        mask = found.mask.array == row.lesion_id
        assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.8
        assert row.max_probability > 0.99
        assert row.mean_hu == pytest.approx(scan.array[mask].mean())
    assert not (found.mask.array > 0)[~found.lungs.array].any()


def test_a_healthy_chest_has_an_empty_table_and_no_error(segmenter):
    found = segment(segmenter, _chest({}))
    assert len(found.lesions) == 0
    assert list(found.lesions.columns) == list(instances.COLUMNS)
    assert not found.mask.array.any()
    assert found.lungs.array.any()


def test_lungs_that_are_given_are_used_instead(segmenter):
    lung = Volume(_ball((22, 35, 26), (75.0, 65.0, 40.0)), AFFINE)
    found = segment(segmenter, _chest(NODULES), lung)
    assert found.lungs is lung
    assert len(found.lesions) == 1
    assert found.mask.array[20, 40, 25] == 1


def test_without_lungs_nothing_is_invented(segmenter):
    trunk = np.where(_ball((22, 35, 45), (200.0, 80.0, 110.0)), 40, -1000).astype(np.int16)
    trunk[_ball((22, 35, 45), 20.0)] = 300  # dense, but in no lung
    with pytest.raises(InputError, match="no lungs found"):
        segment(segmenter, Volume(trunk, AFFINE))
    scan = _chest(NODULES)
    for lungs in (np.zeros(SHAPE, bool), np.ones((3, 3, 3), bool)):
        with pytest.raises(InputError, match="on the scan's own grid"):
            segment(segmenter, scan, Volume(lungs, AFFINE))
