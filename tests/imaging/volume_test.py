"""A voxel marked at a known world point stays there, whatever the scan's axes."""

import dataclasses
import itertools
import resource

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import transform

from dtc_jax.errors import InputError
from dtc_jax.imaging import lesions, volume
from dtc_jax.imaging.volume import Volume

SIDES = (13, 14, 15)
SPACING_MM = (0.7, 1.1, 2.5)
MARKED = (5, 9, 6)
OBLIQUE, STRAIGHT = (20, -15, 25), (0, 0, 0)
ORIENTATIONS = [  # all 48, oblique; and each order of the axes straight as well
    (order, signs, OBLIQUE)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((-1, 1), repeat=3)
] + [(order, (1, -1, -1), STRAIGHT) for order in itertools.permutations(range(3))]


def _affine(order, signs, tilt_deg):
    """Axis i of the file runs along world axis order[i], forward or backward, tilted."""
    axes = np.zeros((3, 3))
    axes[list(order), range(3)] = signs
    tilt = transform.Rotation.from_euler("xyz", tilt_deg, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = tilt @ axes * SPACING_MM
    affine[:3, 3] = (-31.0, 87.5, 12.25)
    return affine


def _brightest(scan):
    return np.array(np.unravel_index(scan.array.argmax(), scan.shape))


@pytest.mark.parametrize(("order", "signs", "tilt_deg"), ORIENTATIONS)
def test_a_marked_voxel_keeps_its_world_point(tmp_path, order, signs, tilt_deg):
    affine = _affine(order, signs, tilt_deg)
    hu = np.random.default_rng(0).integers(-1000, 400, SIDES, dtype=np.int16)
    hu[MARKED] = 2000
    point_mm = (affine @ [*MARKED, 1])[:3]
    nib.save(nib.Nifti1Image(hu, affine), tmp_path / "scan.nii")

    scan = volume.read_image(tmp_path / "scan.nii")
    np.testing.assert_allclose(scan.world(_brightest(scan)), point_mm, atol=1e-4)
    np.testing.assert_allclose(scan.index(point_mm), _brightest(scan), atol=1e-4)
    along = scan.affine[:3, :3] / scan.spacing_mm
    assert (along[[2, 1, 0], [0, 1, 2]] > 0.7).all()  # z up, y to anterior, x to the right

    crop, _ = lesions.cut(scan, point_mm, (9, 11, 13))
    assert crop.array[4, 5, 6] == pytest.approx(2000, abs=0.5)
    np.testing.assert_allclose(crop.world((4, 5, 6)), point_mm, atol=1e-4)
    np.testing.assert_allclose(crop.spacing_mm, 1.0)

    blank = dataclasses.replace(scan, array=np.full(scan.shape, -1000, np.int16))
    pasted = lesions.paste(crop, blank)
    assert pasted.array.max() == 2000
    np.testing.assert_array_equal(_brightest(pasted), _brightest(scan))

    volume.write(tmp_path / "back.nii.gz", pasted)
    back = volume.read_image(tmp_path / "back.nii.gz")
    np.testing.assert_array_equal(back.array, pasted.array)
    np.testing.assert_allclose(back.world(_brightest(back)), point_mm, atol=1e-4)
    found = nib.load(tmp_path / "back.nii.gz")  # as another program sees it
    place = np.unravel_index(found.get_fdata().argmax(), found.shape)
    np.testing.assert_allclose(found.affine @ [*place, 1], [*point_mm, 1], atol=1e-4)


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [
        (np.array([-1024.0, 0, 3071]), np.int16),
        (np.array([-1024.5, 0, 3071]), np.float32),
        (np.array([0, 70000], np.int32), np.float32),
        (np.array([0, 40000], np.uint16), np.float32),
        (np.array([0, 4000], np.uint16), np.int16),
    ],
)
def test_hu_are_int16_where_that_loses_nothing(tmp_path, stored, dtype):
    array = stored.reshape(-1, 1, 1)
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "scan.nii")
    hu = volume.read_image(tmp_path / "scan.nii").array
    assert hu.dtype == dtype
    np.testing.assert_array_equal(hu.ravel(), stored)


def _scan():
    affine = np.eye(4)[[2, 1, 0, 3]] * [2.0, 1.0, 1.0, 1.0]  # index (z, y, x) to world x, y, z
    return Volume(np.zeros((4, 5, 6), np.int16), affine)


def _mask():
    array = np.zeros((4, 5, 6), np.uint8)
    array[1, 2, 3], array[2, 2, 2] = 1, 2
    return Volume(array, _scan().affine)


def test_a_label_picks_its_lesion(tmp_path):
    path = tmp_path / "mask.nii.gz"
    volume.write(path, _mask())
    assert np.argwhere(volume.read_mask(path, _scan()).array).tolist() == [[1, 2, 3], [2, 2, 2]]
    assert np.argwhere(volume.read_mask(path, _scan(), 2).array).tolist() == [[2, 2, 2]]


def _soft(noise=0.0):
    """A ball of 4 voxels whose edge falls from 1 to 0 over two voxels."""
    far = np.sqrt(sum((x - 8) ** 2 for x in np.indices((17, 17, 17))))
    soft = np.clip((5 - far) / 2, 0, 1) + noise
    affine = np.eye(4)[[2, 1, 0, 3]]
    return far, Volume(soft.astype(np.float32), affine)


@pytest.mark.parametrize("label", [None, 1])
@pytest.mark.parametrize("noise", [0.0, 1e-6, -1e-6, 0.2 * np.random.default_rng(0).random(17)])
def test_a_soft_mask_ends_where_it_falls_to_a_half(tmp_path, label, noise):
    far, soft = _soft(noise)
    soft = dataclasses.replace(soft, array=soft.array.clip(max=1))
    volume.write(tmp_path / "soft.nii", soft)
    like = dataclasses.replace(soft, array=np.zeros(far.shape, np.int16))
    found = volume.read_mask(tmp_path / "soft.nii", like, label).array
    assert (found[far < 3.9]).all()
    assert not found[far > 4.5].any()
    ((box, lesion),) = volume.read_regions(tmp_path / "soft.nii", like, [label])
    assert lesion.sum() == found.sum() == found[box].sum()


@pytest.mark.parametrize(("scale", "shift"), [(200, 0), (2, 0), (1, -0.3)])
def test_other_fractions_are_no_mask(tmp_path, scale, shift):
    _, soft = _soft()
    volume.write(tmp_path / "soft.nii", dataclasses.replace(soft, array=soft.array * scale + shift))
    like = dataclasses.replace(soft, array=np.zeros(soft.shape, np.int16))
    with pytest.raises(InputError, match=r"soft\.nii: contains fractions .* export whole numbers"):
        volume.read_mask(tmp_path / "soft.nii", like, 1)


@pytest.mark.parametrize("label", [None, 255])
@pytest.mark.parametrize("blur", [0.7, 1.5])
def test_shades_of_a_soft_mask_number_no_lesions(tmp_path, label, blur):
    far, soft = _soft()
    shades = np.rint(ndimage.gaussian_filter(255.0 * (far < 4), blur)).astype(np.uint8)
    volume.write(tmp_path / "soft.nii", dataclasses.replace(soft, array=shades))
    like = dataclasses.replace(soft, array=np.zeros(soft.shape, np.int16))
    with pytest.raises(InputError, match=r"soft\.nii: contains numbers up to 2\d\d .* soft mask"):
        volume.read_mask(tmp_path / "soft.nii", like, label)


def test_many_numbers_side_by_side_are_lesions(tmp_path):
    numbers = np.repeat(np.repeat(np.arange(1, 37).reshape(6, 6), 3, axis=0), 3, axis=1)
    mask = Volume(np.stack([numbers, numbers * 7]).astype(np.uint8), np.eye(4)[[2, 1, 0, 3]])
    volume.write(tmp_path / "mask.nii", mask)
    like = dataclasses.replace(mask, array=np.zeros(mask.shape, np.int16))
    assert volume.read_mask(tmp_path / "mask.nii", like, 35).array.sum() == 9 + 9


def test_a_scaled_label_is_still_its_number(tmp_path):
    image = nib.Nifti1Image(_mask().array.T * 85, _nifti_affine(_scan()))
    data = bytearray(image.to_bytes())
    data[112:116] = np.float32(1 / 85).tobytes()
    (tmp_path / "mask.nii").write_bytes(data)
    found = volume.read_mask(tmp_path / "mask.nii", _scan(), 2)
    assert np.argwhere(found.array).tolist() == [[2, 2, 2]]


def _nifti_affine(one):
    affine = np.eye(4)
    affine[:3] = one.affine[:3, [2, 1, 0, 3]]
    return affine


def test_a_mask_may_be_stored_in_another_orientation(tmp_path):
    image = nib.Nifti1Image(_mask().array.T, _nifti_affine(_scan()))
    left = nib.orientations.axcodes2ornt("LPI")
    nib.save(image.as_reoriented(left), tmp_path / "mask.nii")
    found = volume.read_mask(tmp_path / "mask.nii", _scan(), 1)
    assert np.argwhere(found.array).tolist() == [[1, 2, 3]]


def test_a_mask_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "mask.nii.gz"
    other, moved, nan = _mask(), _mask(), _mask()
    other = dataclasses.replace(other, array=other.array[:3])
    moved.affine[:3, 3] += 0.5
    nan = dataclasses.replace(nan, array=np.where(nan.array == 2, np.nan, nan.array))
    for mask, label, message in (
        (other, None, r"mask.nii.gz: the mask has \(3, 5, 6\) voxels .* its scan has \(4, 5, 6\)"),
        (moved, None, r"mask.nii.gz: the mask is 0.50 mm away from its scan"),
        (_mask(), 7, r"the mask has no voxel of label 7; check its mask_label, segment the"),
        (dataclasses.replace(_mask(), array=np.zeros((4, 5, 6), bool)), None, "is empty"),
        (nan, None, "contains 1 voxels that are NaN"),
    ):
        volume.write(path, mask)
        with pytest.raises(InputError, match=message):
            volume.read_mask(path, _scan(), label)


def test_rounding_in_a_header_is_no_other_place(tmp_path):
    mask = _mask()
    mask.affine[:3, 3] += 0.004
    volume.write(tmp_path / "mask.nii", mask)
    found = volume.read_mask(tmp_path / "mask.nii", _scan())
    np.testing.assert_array_equal(found.affine, _scan().affine)


def test_a_full_disk_leaves_no_half_file(tmp_path):
    path = tmp_path / "scan.nii"
    noise = np.random.default_rng(0).integers(-1000, 400, (30, 30, 30), dtype=np.int16)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(InputError, match=r"scan\.nii: no space left"):
            volume.write(path, Volume(noise, np.eye(4)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LPI", "SAR"])
def test_a_volume_is_written_in_the_voxel_order_of_the_file_it_belongs_to(axes, tmp_path):
    rng = np.random.default_rng(0)
    array, affine = rng.integers(-9, 9, (4, 5, 6), np.int16), np.eye(4)
    turn = transform.Rotation.from_euler("xyz", OBLIQUE, degrees=True).as_matrix()
    affine[:3, :3] = turn[:, ::-1] * [2.5, 0.8, 0.7]
    one = volume.Volume(array, affine)
    volume.write(tmp_path / "one.nii.gz", one, axes=axes)
    stored = nib.load(tmp_path / "one.nii.gz")
    assert "".join(nib.aff2axcodes(stored.affine)) == axes
    assert stored.header.get_xyzt_units()[0] == "mm"
    again = volume.read_image(tmp_path / "one.nii.gz")
    assert again.axes == axes
    np.testing.assert_array_equal(again.array, array)
    np.testing.assert_allclose(again.affine, affine, atol=1e-6)


def test_a_scan_is_no_mask(tmp_path):
    volume.write(tmp_path / "scan.nii", Volume(np.full((2, 3, 4), -800, np.int16), np.eye(4)))
    scan = volume.read_image(tmp_path / "scan.nii")
    with pytest.raises(InputError, match="negative numbers"):
        volume.read_mask(tmp_path / "scan.nii", scan)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_lesions_that_are_read_together_are_those_read_one_by_one(tmp_path, dtype):
    numbers = np.zeros(SIDES, dtype)
    numbers[1:4, 2, 3:9], numbers[6:8, 5:9, 1], numbers[0, 13, 14] = 7, 2, 200
    affine = np.eye(4)[[2, 1, 0, 3]]  # index (z, y, x) to world x, y, z
    like = Volume(np.zeros(SIDES, np.int16), affine)
    volume.write(tmp_path / "mask.nii", Volume(numbers, affine))
    labels = [200, None, 7, 2, 7]
    found = volume.read_regions(tmp_path / "mask.nii", like, labels)
    for label, (box, lesion) in zip(labels, found, strict=True):
        alone = volume.read_mask(tmp_path / "mask.nii", like, label).array
        assert box == lesions.bounding_box(alone)
        np.testing.assert_array_equal(lesion, alone[box])
    for absent in (3, 201, 10**12):
        with pytest.raises(InputError, match=rf"no voxel of label {absent}; check its mask_label"):
            volume.read_regions(tmp_path / "mask.nii", like, [7, absent])
    volume.write(tmp_path / "empty.nii", Volume(np.zeros(SIDES, np.uint8), affine))
    for label, words in ((None, "the mask is empty"), (1, "no voxel of label 1")):
        with pytest.raises(InputError, match=words):
            volume.read_regions(tmp_path / "empty.nii", like, [label])
