"""Patches: where they lie, what they show, how many of each kind, and what they depend on."""

import dataclasses

import numpy as np
import pytest

from dtc_jax.cohort import manifest, phantom
from dtc_jax.crops import extraction, patches, record
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import grid, lesions, lungs, volume
from dtc_jax.imaging.preprocess import IGNORED
from dtc_jax.imaging.resample import resample_mask

SPEC = phantom.PhantomSpec(
    patients=2, external_patients=0, matrix=(64, 92, 108), spacing_mm=(2.0, 1.5, 1.5), oblique=0.0
)
AFFINE = np.array([[0, 0, 1.0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])  # (z, y, x) to RAS
PARAMS = patches.PatchParams(size_mm=(16, 20, 24), lesion_share=0.25, vessel_share=0.5)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    path = phantom.generate(tmp_path_factory.mktemp("phantom") / "cohort", SPEC)
    return extraction.scans(manifest.read_manifest(path))


@pytest.fixture(scope="module")
def records(scans):
    part = patches.parts(scans, PARAMS)[0]
    image = volume.read_image(part.scan.image)
    masks = [volume.read_mask(one.mask, image, one.mask_label) for one in part.scan.lesions]
    every = volume.Volume(np.any([mask.array for mask in masks], axis=0), image.affine)
    return part, patches.cut(part, PARAMS), image, every


def _near(image, point_mm):
    """The voxels of the scan less than a voxel away from a point."""
    index = image.index(point_mm)
    first, last = np.floor(index - 0.5).astype(int), np.ceil(index + 0.5).astype(int)
    return tuple(slice(max(a, 0), b + 1) for a, b in zip(first, last, strict=True))


def test_a_part_is_as_long_as_its_records(records):
    part, found, _, _ = records
    assert len(part) == len(found) == 4 * len(part.scan)  # a quarter has a lesion in the middle
    names = [one["lesion_id"] for one in found]
    assert len(set(names)) == len(names)
    assert {one["patient_id"] for one in found} == {part.scan.lesions[0].patient_id}


@pytest.mark.parametrize("spacing_mm", [1.0, 2.0])
def test_patches_are_windows_of_the_scans_grid_about_lesions_and_hide_no_neighbour(
    records, spacing_mm
):
    part, found, image, every = records
    params = dataclasses.replace(PARAMS, spacing_mm=spacing_mm)
    if spacing_mm != PARAMS.spacing_mm:
        found = patches.cut(part, params)
    seen, shape = grid.to_grid(image, params.spec), params.shape
    for lesion, one in zip(part.scan.lesions, found[: len(part.scan)], strict=True):
        assert one["lesion_id"] == lesion.lesion_id
        mask = volume.read_mask(lesion.mask, image, lesion.mask_label)
        measures = lesions.measure(image, mask)
        place = grid.nearest(seen, measures.center_mm)
        away = seen.index(one["center_mm"]) - seen.index(measures.center_mm)
        assert np.abs(away).max() <= 0.501  # voxels
        assert one["diameter_mm"] == pytest.approx(measures.diameter_mm)
        alone = grid.lesions_to_grid(
            volume.Volume(mask.array.astype(np.uint8), mask.affine), params.spec
        )
        assert (one["mask"] >= grid.window(alone.array, place, shape, fill=0)[0]).all()
    target = resample_mask(every, spacing_mm)
    for one in found:
        assert one["image"].shape == one["mask"].shape == shape
        assert one["image"].dtype == np.int16
        assert one["mask"].dtype == np.uint8
        assert one["volume_mm3"] == one["mask"].sum() * spacing_mm**3
        place = grid.nearest(seen, one["center_mm"])
        window, extent = grid.window(seen.array, place, shape)
        np.testing.assert_array_equal(one["image"], window)
        np.testing.assert_array_equal(one["extent"], extent)
        np.testing.assert_array_equal(one["mask"], grid.window(target.array, place, shape, 0)[0])


def test_the_others_lie_in_the_lungs_off_the_lesions_and_some_on_dense_tissue(records):
    part, found, image, every = records
    field = lungs.lung_field(image).array
    kinds = {"lung": [], "vessel": []}
    for kind, one in zip(part.kinds, found[len(part.scan) :], strict=True):
        assert np.isnan(one["diameter_mm"])
        assert f"-{kind}" in one["lesion_id"]
        # The voxel of the network's grid nearest to the voxel of the scan that was drawn.
        near = _near(image, one["center_mm"])
        assert field[near].any()
        assert not every.array[near].all()
        kinds[kind].append(image.array[near])
    assert min(hu.max() for hu in kinds["vessel"]) > -500
    assert np.median([np.median(hu) for hu in kinds["lung"]]) < -500


def test_what_is_drawn_hangs_on_the_seed_and_the_scan_alone(scans, records):
    part, found, _, _ = records
    again = patches.parts(scans[:1], PARAMS)[0]
    assert again == part
    for one, other in zip(found, patches.cut(again, PARAMS), strict=True):
        assert one["lesion_id"] == other["lesion_id"]
        np.testing.assert_array_equal(one["image"], other["image"])
    reseeded = dataclasses.replace(PARAMS, seed=1)
    moved = patches.cut(patches.parts(scans[:1], reseeded)[0], reseeded)
    assert not np.array_equal(moved[-1]["center_mm"], found[-1]["center_mm"])


def test_shares_hold_over_many_scans():
    lesion = record.Lesion("p", "l", "mask.nii")
    scans = [
        extraction.Scan(f"{i}.nii", (dataclasses.replace(lesion, lesion_id=f"l{i}"),))
        for i in range(2000)
    ]
    params = patches.PatchParams(lesion_share=0.7, vessel_share=0.3)
    parts = patches.parts(scans, params)
    kinds = [kind for part in parts for kind in part.kinds]
    assert len(scans) / sum(map(len, parts)) == pytest.approx(0.7, abs=0.02)
    assert np.mean([kind == "vessel" for kind in kinds]) == pytest.approx(0.3, abs=0.05)
    alone = patches.PatchParams(lesion_share=1.0)
    assert sum(map(len, patches.parts(scans, alone))) == len(scans)


def test_a_cube_is_kept_as_it_is(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(-1000, 300, (9, 11, 13)).astype(np.int16)
    mask = np.zeros(image.shape, np.uint8)
    mask[1:4, 2:5, 8:11] = 1  # off the middle
    volume.write(tmp_path / "ct.nii.gz", volume.Volume(image, AFFINE))
    volume.write(tmp_path / "mask.nii.gz", volume.Volume(mask, AFFINE))
    lesion = record.Lesion("p", "l", str(tmp_path / "mask.nii.gz"))
    scan = extraction.Scan(str(tmp_path / "ct.nii.gz"), (lesion,))
    params = patches.PatchParams(size_mm=(9, 11, 13), about="cubes")
    (part,) = patches.parts([scan], params)
    (one,) = patches.cut(part, params)
    np.testing.assert_array_equal(one["image"], volume.read_image(scan.image).array)
    np.testing.assert_array_equal(
        one["mask"], volume.read_mask(lesion.mask, volume.read_image(scan.image)).array
    )


def test_bad_scans_and_masks_are_named(scan):
    no_lungs = dataclasses.replace(scan)
    (part,) = patches.parts([no_lungs], dataclasses.replace(PARAMS, lesion_share=0.5))
    errors = [one for one in patches.cut(part, PARAMS) if isinstance(one, InputError)]
    assert "p1-a" in str(errors[0])
    assert "no lungs found" in str(errors[0])
    missing = dataclasses.replace(scan.lesions[0], lesion_id="p1-x", mask_label=9)
    (part,) = patches.parts([dataclasses.replace(scan, lesions=(missing,))], PARAMS)
    (error,) = patches.cut(part, PARAMS)
    assert "p1-x" in str(error)
    assert "label 9" in str(error)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size_mm": (8, 8)}, "size_mm"),
        ({"about": "scans"}, "about is 'scans'"),
        ({"lesion_share": 0}, "lesion_share"),
        ({"vessel_share": 1.5}, "vessel_share"),
        ({"spacing_mm": 0.0}, "spacing_mm"),
        ({"antialias": "cubic"}, "antialias"),
    ],
)
def test_wrong_parameters_are_said(fields, message):
    with pytest.raises(UsageError, match=message):
        patches.PatchParams(**fields)


def test_the_others_lie_in_the_lungs_that_are_given(scans, tmp_path):
    image = volume.read_image(scans[0].image)
    field = lungs.lung_field(image).array
    field[:, :, : image.shape[2] // 2] = False
    volume.write(tmp_path / "lungs.nii.gz", volume.Volume(field, image.affine))
    given = dataclasses.replace(scans[0], lungs=str(tmp_path / "lungs.nii.gz"))
    (part,) = patches.parts([given], PARAMS)
    found = patches.cut(part, PARAMS)[len(given) :]
    assert len(found) == len(part.kinds) > 5
    for one in found:
        assert field[_near(image, one["center_mm"])].any()
    volume.write(tmp_path / "lungs.nii.gz", volume.Volume(field[1:], image.affine))
    *_, error = patches.cut(part, PARAMS)
    assert f"scan of lesion {given.lesions[0].lesion_id}" in str(error)
    assert "lungs.nii.gz: the mask has" in str(error)


def test_a_scan_without_a_lesion_gives_patches_without_lesion(scans):
    healthy = extraction.Scan(scans[0].image, (), "", "p9", "p9-healthy0")
    (part,) = patches.parts([healthy], PARAMS)
    found = patches.cut(part, PARAMS)
    assert len(found) == len(part) == 3  # as a scan of one lesion, less that about the lesion
    assert {one["patient_id"] for one in found} == {"p9"}
    assert all(one["lesion_id"].startswith("p9-healthy0-") for one in found)
    assert len({one["lesion_id"] for one in found}) == 3
    assert not any(one["mask"].any() for one in found)
    field = lungs.lung_field(volume.read_image(healthy.image)).array
    image = volume.read_image(healthy.image)
    for one in found:
        assert field[_near(image, one["center_mm"])].any()
    alone = dataclasses.replace(PARAMS, lesion_share=1.0)
    assert patches.cut(patches.parts([healthy], alone)[0], alone) == []
    missing = dataclasses.replace(healthy, image="/nowhere.nii")
    (error,) = patches.cut(patches.parts([missing], PARAMS)[0], PARAMS)
    assert "scan without a lesion of patient p9: /nowhere.nii" in str(error)


def test_what_is_ignored_is_marked_and_never_in_the_middle(scans, tmp_path):
    image = volume.read_image(scans[0].image)
    outside = np.zeros(image.shape, np.uint8)
    field = lungs.lung_field(image).array
    outside[field & (np.indices(image.shape)[0] < image.shape[0] // 2)] = 1
    volume.write(tmp_path / "ignore.nii.gz", volume.Volume(outside, image.affine))
    scan = dataclasses.replace(scans[0], ignore=str(tmp_path / "ignore.nii.gz"))
    params = dataclasses.replace(PARAMS, border_share=0.5, other_per_scan=12)
    part = patches.parts([scan], params)[0]
    assert len(part.kinds) >= 12
    assert {"border", "vessel"} <= set(part.kinds)
    seen = False
    for one in patches.cut(part, params)[len(scan) :]:
        place = image.index(one["center_mm"])
        assert place[0] >= image.shape[0] // 2 - 1
        seen |= bool((one["mask"] == IGNORED).any())
        assert one["volume_mm3"] == (one["mask"] == 1).sum() * params.spacing_mm**3
    assert seen


def test_a_mask_of_what_is_ignored_may_be_empty(scans, tmp_path):
    image = volume.read_image(scans[0].image)
    empty = volume.Volume(np.zeros(image.shape, np.uint8), image.affine)
    volume.write(tmp_path / "empty.nii.gz", empty)
    scan = dataclasses.replace(scans[0], ignore=str(tmp_path / "empty.nii.gz"))
    params = dataclasses.replace(PARAMS, lesion_share=1.0)
    found = patches.cut(patches.parts([scan], params)[0], params)
    assert len(found) == len(scan)
    for one in found:
        assert set(np.unique(one["mask"])) <= {0, 1}


def test_a_box_is_ignored_and_a_cube_is_one_patch(scans):
    image = volume.read_image(scans[0].image)
    middle = image.world((np.array(image.shape) - 1) / 2)
    box = " ".join(f"{x + d:.1f}" for x in middle for d in (-6, 6))
    cube = dataclasses.replace(
        scans[0], lesions=scans[0].lesions[:1], is_cube=True, boxes_mm=(box,)
    )
    part = patches.parts([cube], PARAMS)[0]
    (record,) = patches.cut(part, PARAMS)
    away = np.abs(record["center_mm"] - middle)
    assert away.max() <= 0.51
    assert (record["mask"] == IGNORED).sum() == pytest.approx(12**3, rel=0.3)


def test_patches_about_given_points_are_those_of_the_scan(records):
    part, found, image, _ = records
    masks = [volume.read_mask(one.mask, image, one.mask_label) for one in part.scan.lesions]
    source = patches.opened(part.scan, image, masks, PARAMS)
    for one in found:
        again = source.patch(one["center_mm"], "again")
        np.testing.assert_array_equal(one["image"], again["image"])
        np.testing.assert_array_equal(one["mask"], again["mask"])
