"""Who writes a client from preprocessing.json alone gets the numbers of this project."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from dtc_jax.crops import record
from dtc_jax.export import interface, served
from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.classify import cut
from dtc_jax.inference.sliding_window import SlidingWindow, sliding_window
from tests.export import small_networks


def described(network) -> dict:
    """What preprocessing.json says of the time before the model."""
    one = served.make(network)
    return interface.describe(one, {}, "a test", {"dtype": "float32"})["before_the_model"]


@pytest.mark.parametrize("spacing_mm", [(2.0, 2.0, 2.0), (2.5, 0.703125, 0.6), (1.0, 1.0, 1.0)])
def test_a_lesion_at_the_border_of_its_scan_is_cut_out_as_described(drawn, spacing_mm):
    said = described(drawn(small_networks.classifier(0)))
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 400, (9, 20, 22)).astype(np.int16)
    number = np.zeros(hu.shape, np.uint8)
    number[:3, 6:14, 12:] = 1
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = (*spacing_mm, 1.0)
    ((_, box),) = lesions.numbered(number)
    size = tuple(said["size_voxels"])
    crop = record.CropParams(size)
    image, mask = cut(Volume(hu, affine), Volume(number, affine), 1, box, crop)

    inside = np.argwhere(number)
    middle = (inside.min(axis=0) + inside.max(axis=0)) / 2
    places = np.meshgrid(
        *(
            m + (np.arange(n) - (n - 1) / 2) * said["spacing_mm"] / side
            for m, n, side in zip(middle, size, spacing_mm, strict=True)
        ),
        indexing="ij",
    )
    share = ndimage.map_coordinates(number.astype(float), places, order=1, mode="grid-constant")
    np.testing.assert_array_equal(mask.array, share >= said["mask_from"])
    values = ndimage.map_coordinates(hu.astype(float), places, order=1, mode="nearest")
    np.testing.assert_allclose(image.array, values, atol=0.501)


def test_windows_start_where_the_lungs_do_as_described(drawn):
    said = described(drawn(small_networks.segmenter(1)))
    assert "from the first one of the region" in said["window_starts"]
    assert "bounding box of the lungs" in said["region"]
    side = said["window_voxels"]
    image = np.random.default_rng(0).normal(size=(25, 40, 20)).astype(np.float32)
    lungs = np.zeros(image.shape, bool)
    lungs[8:19, 15:33, 3:5] = True
    shape = SlidingWindow(tuple(side), said["overlap"], 1, said["sigma"])
    found = sliding_window(lambda windows: windows - windows.mean(), image, shape, lungs)

    region = []
    for n, box, end in zip(side, lesions.bounding_box(lungs), image.shape, strict=True):
        margin = max(n // 4, (n - (box.stop - box.start) + 1) // 2)
        region.append(slice(max(0, box.start - margin), min(end, box.stop + margin)))
    lack = [
        max(0, n - len(range(one.start, one.stop))) for n, one in zip(side, region, strict=True)
    ]
    pads = [(n // 2, n - n // 2) for n in lack]
    part = np.pad(image[tuple(region)], pads, mode="edge")
    asked = np.pad(lungs[tuple(region)], pads)
    weights = np.ones(side)
    for axis, n in enumerate(side):
        along = np.exp(-(((np.arange(n) - (n - 1) / 2) / (said["sigma"] * n)) ** 2) / 2)
        weights *= along.reshape([-1 if other == axis else 1 for other in range(3)])
    weights = np.maximum(weights / weights.max(), 0.001)
    total, weight = np.zeros(part.shape), np.zeros(part.shape)
    starts = []
    for n, end in zip(side, part.shape, strict=True):
        step = max(1, round(n * (1 - said["overlap"])))
        starts.append(sorted({min(first, end - n) for first in range(0, end - n + step, step)}))
    for start in itertools.product(*starts):
        place = tuple(slice(a, a + n) for a, n in zip(start, side, strict=True))
        if asked[place].any():
            total[place] += weights * (part[place] - part[place].mean())
            weight[place] += weights
    mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    within = tuple(slice(a, n - b) for (a, b), n in zip(pads, part.shape, strict=True))
    expected = np.zeros(image.shape)
    expected[tuple(region)] = mean[within]
    np.testing.assert_allclose(found, expected, atol=1e-5)
