"""The network's input: what NumPy and XLA compute, against the formula of a centred grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dtc_jax.errors import UsageError
from dtc_jax.imaging import preprocess
from dtc_jax.imaging.preprocess import Preprocess

SPECS = [
    Preprocess(crop_mm=(6, 8, 10)),
    Preprocess(crop_mm=(7, 9, 11)),
    Preprocess(crop_mm=(6, 9, 10), spacing_mm=2.0),
    Preprocess(crop_mm=(6, 8, 9), spacing_mm=1.5),
    Preprocess(crop_mm=(6, 8, 10), spacing_mm=0.7),
    Preprocess(crop_mm=(40, 8, 31)),  # larger than the record
    Preprocess(crop_mm=(1, 1, 1)),
]
RECORDS = [(12, 14, 16), (13, 15, 17), (12, 15, 1)]


def _oracle(x: np.ndarray, spec: Preprocess, mode: str) -> np.ndarray:
    """Linear interpolation at (n_in - 1) / 2 + (i - (n_out - 1) / 2) * spacing by SciPy."""
    axes = [
        (n_in - 1) / 2 + (np.arange(n_out) - (n_out - 1) / 2) * spec.spacing_mm
        for n_in, n_out in zip(x.shape, spec.shape, strict=True)
    ]
    points = np.meshgrid(*axes, indexing="ij")
    return ndimage.map_coordinates(x.astype(np.float64), points, order=1, mode=mode)


@pytest.mark.parametrize("shape", RECORDS)
@pytest.mark.parametrize("spec", SPECS)
def test_a_crop_samples_the_centred_grid_in_numpy_and_jax_alike(spec, shape):
    image = np.random.default_rng(0).integers(-1000, 1000, shape).astype(np.int16)
    crop = preprocess.crop(image, spec, np)
    assert crop.dtype == np.float32
    assert crop.shape == spec.shape
    np.testing.assert_allclose(crop, _oracle(image, spec, "nearest"), rtol=1e-5, atol=1e-3)
    compiled = jax.jit(lambda x: preprocess.crop(x, spec, jnp))(image)
    assert compiled.dtype == jnp.float32
    np.testing.assert_allclose(compiled / 1000, crop / 1000, atol=1e-5)


@pytest.mark.parametrize("shape", RECORDS)
@pytest.mark.parametrize("spec", SPECS)
def test_beyond_the_record_a_mask_is_empty(spec, shape):
    mask = (np.random.default_rng(1).random(shape) < 0.5).astype(np.uint8)
    crop = preprocess.crop(mask, spec, np, edge=False)
    np.testing.assert_allclose(crop, _oracle(mask, spec, "grid-constant"), atol=1e-6)
    compiled = jax.jit(lambda x: preprocess.crop(x, spec, jnp, edge=False))(mask)
    np.testing.assert_allclose(compiled, crop, atol=1e-6)


@pytest.mark.parametrize(
    ("n_in", "n_out", "spacing", "first", "last"),
    [
        (72, 48, 1.0, 12.0, 59.0),
        (71, 48, 1.0, 11.5, 58.5),
        (72, 24, 2.0, 12.5, 58.5),
        (9, 5, 1.5, 1.0, 7.0),
        (4, 8, 1.0, -2.0, 5.0),
    ],
)
def test_the_middle_of_the_output_is_the_middle_of_the_input(n_in, n_out, spacing, first, last):
    positions = preprocess.sample_positions(n_in, n_out, spacing)
    assert len(positions) == n_out
    assert (positions[0], positions[-1]) == (first, last)
    assert positions.mean() == pytest.approx((n_in - 1) / 2)


def test_a_crop_of_equal_parity_is_a_plain_slice():
    image = np.random.default_rng(2).normal(size=(2, 12, 14, 16)).astype(np.float32)
    crop = preprocess.crop(image, Preprocess(crop_mm=(6, 8, 10)), np)
    np.testing.assert_array_equal(crop, image[:, 3:9, 3:11, 3:13])


def test_leading_axes_are_a_batch():
    images = np.random.default_rng(3).normal(size=(2, 3, 12, 13, 14)).astype(np.float32)
    spec = SPECS[3]
    crops = preprocess.crop(images, spec, np)
    assert crops.shape == (2, 3, *spec.shape)
    np.testing.assert_array_equal(crops[1, 2], preprocess.crop(images[1, 2], spec, np))


def test_the_shape_is_the_field_of_view_over_the_spacing():
    assert Preprocess().shape == (32, 48, 48)
    assert Preprocess(spacing_mm=2.0).shape == (16, 24, 24)
    assert Preprocess(crop_mm=(10, 20, 30), spacing_mm=1.5).shape == (7, 13, 20)


def test_the_window_becomes_0_to_1():
    hu = np.array([-3000.0, -1000.0, -300.0, 400.0, 3000.0], np.float32).reshape(1, 1, 5)
    one = np.ones_like(hu)
    x = preprocess.normalize(hu, one, Preprocess(), np)
    assert x.shape == (1, 1, 5, 1)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.ravel(), [0, 0, 0.5, 1, 1], atol=1e-6)
    bones = preprocess.normalize(hu, one, Preprocess(window=(400.0, 3000.0)), np)
    np.testing.assert_allclose(bones.ravel(), [0, 0, 0, 0, 1], atol=1e-6)


@pytest.mark.parametrize("xp", [np, jnp])
def test_the_mask_is_ignored_or_a_channel_or_applied(xp):
    hu = xp.full((2, 1, 1, 2), 400.0, "float32")
    mask = xp.asarray(np.array([1.0, 0.25], np.float32).reshape(1, 1, 1, 2)).repeat(2, axis=0)
    seen = {}
    for use in ("none", "channel", "apply"):
        spec = Preprocess(mask=use)
        x = preprocess.normalize(hu, mask, spec, xp)
        assert x.shape == (2, 1, 1, 2, spec.channels)
        assert x.dtype == np.float32
        seen[use] = np.asarray(x)[0, 0, 0].tolist()
    assert seen == {
        "none": [[1], [1]],
        "channel": [[1, 1], [1, 0.25]],
        "apply": [[1], [0.25]],
    }


@pytest.mark.parametrize("use", ["none", "channel", "apply"])
def test_the_whole_way_is_the_same_in_numpy_and_jax(use):
    rng = np.random.default_rng(4)
    image = rng.integers(-1200, 600, (2, 12, 15, 14)).astype(np.int16)
    mask = (rng.random((2, 12, 15, 14)) < 0.3).astype(np.uint8)
    spec = Preprocess(crop_mm=(9, 10, 20), spacing_mm=1.25, mask=use)
    x = preprocess.preprocess(image, mask, spec, np)
    assert x.shape == (2, *spec.shape, spec.channels)
    assert x.min() >= 0
    assert x.max() <= 1
    compiled = jax.jit(lambda i, m: preprocess.preprocess(i, m, spec, jnp))(image, mask)
    np.testing.assert_allclose(compiled, x, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mask": "both"}, "mask"),
        ({"window": (400.0, -1000.0)}, "window"),
        ({"window": (0.0, 0.0)}, "window"),
        ({"window": (0.0, float("nan"))}, "window"),
        ({"spacing_mm": 0.0}, "spacing_mm"),
        ({"spacing_mm": -1.0}, "spacing_mm"),
        ({"spacing_mm": float("nan")}, "spacing_mm"),
        ({"spacing_mm": 100.0}, "spacing_mm"),
        ({"crop_mm": (32, 0, 48)}, "crop_mm"),
        ({"crop_mm": (32, -48, 48)}, "crop_mm"),
        ({"crop_mm": (32, 48)}, "crop_mm"),
        ({"crop_mm": 32}, "crop_mm"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(change, field):
    with pytest.raises(UsageError, match=f"preprocess.*{field}"):
        Preprocess(**change)
