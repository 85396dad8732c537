"""What interpolation does to noise and ramps, and which examples it spares."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import ndimage

from dtc_jax.errors import UsageError
from dtc_jax.imaging import preprocess
from dtc_jax.training import augment as augment_lib
from tests.training.augmented import KEYS, SIDES, Strength, augmented, record


def test_examples_that_are_not_resampled_keep_their_voxels():
    image, mask = record()
    strength = Strength(
        flip=(0.5, 0.5, 0.5), rotate_deg=(20.0, 20.0, 20.0), shift_mm=4.0, scale=0.1, resampled=0.5
    )
    hu, region = augmented(image, mask, strength)
    known = np.isin(hu, image).reshape(len(KEYS), -1).mean(axis=1)
    assert set(np.unique(region[known == 1])) <= {0.0, 1.0}
    assert 0.3 < (known == 1).mean() < 0.7
    assert len({one.tobytes() for one in hu[known == 1]}) > 10  # flips and shifts are left
    assert np.median(known[known < 1]) < 0.5


@pytest.mark.parametrize(
    ("crop_mm", "spacing_mm"),
    [((10, 12, 14), 1.0), ((11, 12, 13), 1.0), ((12, 18, 24), 1.5), ((20, 22, 24), 2.0)],
)
def test_examples_that_are_not_resampled_are_as_sharp_as_what_is_predicted_from(
    crop_mm, spacing_mm
):
    image, mask = record()
    spec = preprocess.Preprocess(crop_mm=crop_mm, spacing_mm=spacing_mm)
    turned = Strength(rotate_deg=(20.0, 20.0, 20.0), scale=0.1, resampled=0.0)
    hu, region = augmented(image, mask, turned, spec=spec, keys=KEYS[:2])
    for got, stored, edge in ((hu[0], image, True), (region[0], mask, False)):
        np.testing.assert_allclose(got, preprocess.crop(stored, spec, np, edge), atol=1e-2)
    shifted = dataclasses.replace(turned, shift_mm=2.0)
    hu, _ = augmented(image, mask, shifted, spec=spec, keys=KEYS[:8])
    moved = [
        preprocess.crop(np.roll(image, steps, (0, 1, 2)), spec, np)
        for steps in itertools.product(range(-2, 3), repeat=3)
    ]
    for one in hu:  # a crop about another voxel, whole
        assert min(np.abs(one - crop).max() for crop in moved) < 1e-2


@pytest.mark.parametrize(("interpolation", "share"), [("linear", 0.54), ("sharp", 1.0)])
def test_sharp_interpolation_keeps_the_noise_of_what_is_stored(interpolation, share):
    image = np.random.default_rng(0).normal(-600, 30, SIDES).astype(np.int16)
    strength = Strength(
        *((0.5, 0.5, 0.5), (20.0, 20.0, 20.0), 4.0, 0.1), interpolation=interpolation
    )
    hu, _ = augmented(image, np.zeros(SIDES, np.uint8), strength)
    assert np.sqrt(hu.var(axis=(1, 2, 3)).mean()) == pytest.approx(share * 30, rel=0.05)
    smooth = ndimage.gaussian_filter(image.astype(float), 0.6)  # noise of neighbours goes together
    hu, _ = augmented(np.rint(smooth).astype(np.int16), np.zeros(SIDES, np.uint8), strength)
    kept = np.sqrt(hu.var(axis=(1, 2, 3)).mean()) / smooth.std()
    assert 0.5 < kept < 0.8 if interpolation == "linear" else kept == pytest.approx(1, abs=0.05)


@pytest.mark.extras
def test_sharp_interpolation_gives_ramps_and_voxels_as_they_are():
    z, y, x = np.indices(SIDES)
    ramp = (10 * z - 7 * y + 3 * x).astype(np.int16)
    strength = Strength(rotate_deg=(20.0, 20.0, 20.0), shift_mm=4.0)
    mask = np.zeros(SIDES, np.uint8)
    linear, _ = augmented(ramp, mask, strength)
    sharp, _ = augmented(ramp, mask, dataclasses.replace(strength, interpolation="sharp"))
    np.testing.assert_allclose(sharp, linear, atol=0.05)
    image, mask = record()
    plain, _ = augmented(image, mask, Strength(), keys=KEYS[:1])
    again, _ = augmented(image, mask, Strength(interpolation="sharp"), keys=KEYS[:1])
    np.testing.assert_allclose(again, plain, atol=0.1)
    beyond = preprocess.Preprocess(crop_mm=(40, 40, 40))
    plain, _ = augmented(image, mask, Strength(), spec=beyond, keys=KEYS[:1])
    again, _ = augmented(image, mask, Strength(interpolation="sharp"), spec=beyond, keys=KEYS[:1])
    np.testing.assert_allclose(again, plain, atol=0.2)  # of 1400 HU from voxel to voxel


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(UsageError, match=r"config\.augment\.interpolation is 'cubic'"):
        augment_lib.check(Strength(interpolation="cubic"))


def test_the_share_that_is_resampled_does_not_change_what_is_drawn():
    image, mask = record()
    every = augmented(image, mask, Strength(rotate_deg=(20.0, 0.0, 0.0), scale=0.1))[0]
    some = augmented(image, mask, Strength(rotate_deg=(20.0, 0.0, 0.0), scale=0.1, resampled=0.5))[
        0
    ]
    same = [np.array_equal(a, b) for a, b in zip(every, some, strict=True)]
    assert 0.3 < np.mean(same) < 0.7
