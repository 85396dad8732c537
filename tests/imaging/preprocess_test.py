"""The network's input: where it samples, what it makes of HU and mask, the same in both arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dtc_jax.errors import UsageError
from dtc_jax.imaging.preprocess import (
    Preprocess,
    crop,
    middle,
    normalize,
    offsets,
    preprocess,
    uncrop,
)

RECORD = np.random.default_rng(0).integers(-1000, 400, (2, 20, 26, 25), dtype=np.int16)
GRIDS = [  # crop_mm, spacing_mm
    ((10, 12, 13), 1.0),  # a slice, in all but the last axis of even records
    ((11, 13, 12), 1.0),  # between the voxels
    ((12, 24, 24), 2.0),
    ((15, 15, 15), 1.5),
    ((10, 10, 10), 0.7),
    ((40, 44, 48), 1.0),  # beyond the record
    ((1, 1, 1), 1.0),
]


def _oracle(record, spec, mode):
    position = [
        middle(n_in, n_out, spec) + offsets(n_out, spec)
        for n_in, n_out in zip(record.shape[1:], spec.shape, strict=True)
    ]
    grid = np.meshgrid(*position, indexing="ij")
    return np.stack(
        [ndimage.map_coordinates(one.astype(float), grid, order=1, mode=mode) for one in record]
    )


@pytest.mark.parametrize(("crop_mm", "spacing_mm"), GRIDS)
@pytest.mark.parametrize("xp", [np, jnp], ids=["numpy", "jax"])
def test_a_crop_is_interpolated_about_the_middle(crop_mm, spacing_mm, xp):
    spec = Preprocess(crop_mm, spacing_mm)
    cut = jax.jit(lambda x, edge: crop(x, spec, jnp, edge), static_argnums=1)
    for edge, mode in ((True, "nearest"), (False, "grid-constant")):
        found = cut(RECORD, edge) if xp is jnp else crop(RECORD, spec, np, edge)
        assert found.shape == (2, *spec.shape)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, _oracle(RECORD, spec, mode), atol=1e-3)


@pytest.mark.parametrize(("crop_mm", "spacing_mm"), [grid for grid in GRIDS if max(grid[0]) > 1])
@pytest.mark.parametrize("xp", [np, jnp], ids=["numpy", "jax"])
def test_a_crop_is_laid_back_where_it_was(crop_mm, spacing_mm, xp):
    """A ramp comes back as it was, and 0 stands where the crop has no voxel around."""
    spec, shape = Preprocess(crop_mm, spacing_mm), RECORD.shape[1:]
    at = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))  # [3, d, h, w]
    ramp = np.float32([3, 20, 100]) @ at.reshape(3, -1).astype(np.float32)
    position = [
        middle(n_in, n_out, spec) + offsets(n_out, spec)
        for n_in, n_out in zip(shape, spec.shape, strict=True)
    ]
    seen = np.stack(np.meshgrid(*position, indexing="ij"), axis=-1) @ np.float32([3, 20, 100])
    back = np.asarray(uncrop(xp.asarray(seen[None]), shape, spec, xp))[0]
    ends = [(axis[0] - 1e-3, axis[-1] + 1e-3) for axis in position]
    inside = np.all([(a <= x) & (x <= b) for x, (a, b) in zip(at, ends, strict=True)], axis=0)
    np.testing.assert_allclose(back, np.where(inside, ramp.reshape(shape), 0), atol=1e-2)


def test_the_middle_of_the_crop_is_the_middle_of_the_record():
    ramp = np.broadcast_to(np.arange(25.0), (20, 26, 25))
    for crop_mm, spacing_mm in GRIDS[:5]:
        found = crop(ramp, Preprocess(crop_mm, spacing_mm), np)[0, 0]
        assert found.mean() == pytest.approx(12)
        np.testing.assert_allclose(np.diff(found), spacing_mm, atol=1e-5)


@pytest.mark.parametrize(
    ("n_in", "n_out", "spacing_mm", "first", "last"),
    [
        (72, 48, 1.0, 12.0, 59.0),
        (71, 48, 1.0, 11.5, 58.5),
        (72, 24, 2.0, 12.5, 58.5),
        (9, 5, 1.5, 1.0, 7.0),
        (4, 8, 1.0, -2.0, 5.0),
    ],
)
def test_sampled_positions_are_centred(n_in, n_out, spacing_mm, first, last):
    spec = Preprocess(spacing_mm=spacing_mm)
    positions = middle(n_in, n_out, spec) + offsets(n_out, spec)
    assert len(positions) == n_out
    assert (positions[0], positions[-1]) == (first, last)


@pytest.mark.parametrize("spacing_mm", [1.0, 1.7, 2.0])
@pytest.mark.parametrize("shape", [(10, 12, 13), (11, 13, 12)])
def test_a_window_of_the_networks_grid_is_cut_and_never_interpolated(spacing_mm, shape):
    spec = Preprocess(tuple(n * spacing_mm for n in shape), spacing_mm, grid="scan")
    assert spec.shape == shape
    found = crop(RECORD, spec, np)
    sides = zip(RECORD.shape[1:], shape, strict=True)
    start = [(n_in - 1) // 2 - (n_out - 1) // 2 for n_in, n_out in sides]
    cut = tuple(slice(first, first + n) for first, n in zip(start, shape, strict=True))
    np.testing.assert_array_equal(found, RECORD[(slice(None), *cut)])


def test_a_plain_slice_changes_no_bit():
    found = crop(RECORD, Preprocess((10, 12, 13)), np)
    np.testing.assert_array_equal(found, RECORD[:, 5:15, 7:19, 6:19])


def test_the_window_goes_from_0_to_1():
    spec = Preprocess(window=(-1000, 400))
    hu = np.array([-2000, -1000, -300, 400, 3000.0]).reshape(1, 1, 5)
    found = normalize(hu, np.ones_like(hu), spec, np)
    assert found.shape == (1, 1, 5, 1)
    np.testing.assert_allclose(found.ravel(), [0, 0, 0.5, 1, 1])


def test_the_mask_is_used_as_told():
    mask = (RECORD > -500).astype(np.uint8)
    inputs = {
        use: preprocess(RECORD, mask, Preprocess((10, 12, 13), mask=use), np)
        for use in ("none", "channel", "apply")
    }
    inner = np.s_[:, 5:15, 7:19, 6:19]
    expected = np.clip((RECORD[inner] + 1000.0) / 1400, 0, 1)
    np.testing.assert_allclose(inputs["none"][..., 0], expected, atol=1e-6)
    np.testing.assert_allclose(inputs["channel"][..., 0], expected, atol=1e-6)
    np.testing.assert_array_equal(inputs["channel"][..., 1], mask[inner])
    np.testing.assert_allclose(inputs["apply"][..., 0], expected * mask[inner], atol=1e-6)
    for use, x in inputs.items():
        spec = Preprocess((10, 12, 13), mask=use)
        assert x.shape == (2, *spec.shape, spec.channels)
        assert x.dtype == np.float32


def test_a_soft_mask_is_applied_softly():
    hu = np.full((1, 1, 3), 400.0)
    soft = np.array([0.0, 0.25, 1.0]).reshape(1, 1, 3)
    found = normalize(hu, soft, Preprocess(mask="apply"), np)
    np.testing.assert_allclose(found.ravel(), soft.ravel())


@pytest.mark.parametrize("use", ["none", "channel", "apply"])
def test_jax_and_numpy_agree(use):
    spec = Preprocess((12, 21, 24), 1.5, mask=use)
    mask = (RECORD > 0).astype(np.uint8)
    found = jax.jit(lambda image, mask: preprocess(image, mask, spec, jnp))(RECORD, mask)
    np.testing.assert_allclose(found, preprocess(RECORD, mask, spec, np), atol=1e-6)


def test_the_grid_follows_from_the_field_of_view():
    assert Preprocess().shape == (32, 48, 48)
    assert Preprocess((32, 48, 48), 1.5).shape == (21, 32, 32)
    assert Preprocess(mask="channel").channels == 2
    assert Preprocess(mask="apply").channels == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mask": "chanel"}, r"config\.preprocess\.mask='chanel'"),
        ({"antialias": "cubic"}, r"config\.preprocess\.antialias='cubic'"),
        ({"window": (400, -1000)}, r"config\.preprocess\.window"),
        ({"spacing_mm": 0.0}, "no voxels"),
        ({"spacing_mm": -1.0}, "no voxels"),
        ({"spacing_mm": float("nan")}, "no voxels"),
        ({"spacing_mm": 100.0}, "no voxels"),
        ({"crop_mm": (32, 48, 0)}, "no voxels"),
        ({"crop_mm": (32, -48, 48)}, "no voxels"),
        ({"crop_mm": (32, 48)}, r"crop_mm=\(32, 48\): give 3 numbers"),
        ({"crop_mm": 32}, "crop_mm=32: give 3 numbers"),
        ({"window": (-1000, 0, 400)}, "window=.*: give 2 numbers"),
        ({"window": (0.0, float("nan"))}, "window=.*the first must be smaller"),
    ],
)
def test_a_wrong_setting_is_named(wrong, message):
    with pytest.raises(UsageError, match=message):
        Preprocess(**wrong)
