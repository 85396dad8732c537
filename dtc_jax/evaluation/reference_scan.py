"""A scan of a manifest with its reference lesions, and how far a segmentation agrees with them."""

import dataclasses
import itertools
import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd

from dtc_jax.cohort import manifest
from dtc_jax.crops import extraction
from dtc_jax.errors import InputError
from dtc_jax.imaging import agreement, ct, dicom, lungs, volume
from dtc_jax.imaging.lesions import Region, box_voxels, together
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.segment import Segmentation, Segmenter, segment

_MOSTLY = 0.5  # of a false finding that lies in what is ignored: it counts neither way


@dataclasses.dataclass(frozen=True)
class Box:
    """A lesion without a mask.

    Attributes:
      voxels: of the scan whose middle lies in the box.
      diameter_mm: the longer side of the box in the axial plane, as it was given.
    """

    voxels: tuple[slice, ...]
    diameter_mm: float


@dataclasses.dataclass(frozen=True)
class ReferenceScan:
    """A scan of a manifest as it was read, and what is known of its lesions.

    Attributes:
      image: HU.
      truth: instance mask that numbers the lesions from 1 on, in the order of `lesion_ids`.
      lesion_ids: of the lesions in `truth`.
      shared_voxels: by how many the masks exceed what they cover together; a voxel of several
        lesions counts to the smallest of them.
      lungs: where lesions are looked for, bool: as drawn, or the whole of a cube; None where they
        are to be found.
      name: of the scan, for messages.
      view: 'scan', or 'cube'.
      boxes: lesions without a mask, by their id.
      ignored: what counts neither as lesion nor as background, bool; None if there is nothing.
      series: which DICOM series it is, and why; '' where it is no DICOM.
    """

    image: Volume
    truth: Volume
    lesion_ids: tuple[str, ...]
    shared_voxels: int
    lungs: Volume | None
    name: str
    view: str = "scan"
    boxes: dict[str, Box] = dataclasses.field(default_factory=dict)
    ignored: Volume | None = None
    series: str = ""


def read(rows: pd.DataFrame) -> ReferenceScan:
    """The scan of a manifest's `rows`.

    Raises:
      InputError: see `ct.read` and `volume.read_mask`; names a lesion of the scan, or the
        patient where there is none.
    """
    first = rows.iloc[0]
    image = ct.read(first.image)
    with_mask = rows.dropna(subset="mask")
    ids = tuple(with_mask.lesion_id)
    (known,) = extraction.scans(rows, whole=True)
    named = known.title
    for note in extraction.notes_of(known, image):
        print(note, file=sys.stderr, flush=True)
    regions = list[Region]()
    try:
        # Lesions that follow each other in one file are read together.
        for path, own in itertools.groupby(with_mask.itertuples(), key=lambda row: row.mask):
            labels = [None if np.isnan(row.mask_label) else int(row.mask_label) for row in own]
            regions += volume.read_regions(path, image, labels)
        truth = _numbered(regions, ids, image)
        drawn = None if pd.isna(first.lungs) else lungs.given_or_found(image, first.lungs)
        ignored = None if pd.isna(first.ignore) else volume.read_region(first.ignore, image)
        boxes = {
            row.lesion_id: _box(image, manifest.parse_box(row.box_mm))
            for row in rows.dropna(subset="box_mm").itertuples()
        }
    except InputError as error:
        raise InputError(f"{named}: {error}") from error
    shared = sum(int(lesion.sum()) for _, lesion in regions) - int((truth.array > 0).sum())
    if drawn is None and first["view"] == "cube":
        drawn = Volume(np.ones(image.shape, bool), image.affine)
    series = dicom.find(first.image).statement if dicom.is_scan(first.image) else ""
    return ReferenceScan(
        image, truth, ids, shared, drawn, first.image, first["view"], boxes, ignored, series
    )


def _box(image: Volume, ends_mm: np.ndarray) -> Box:
    sides_mm = ends_mm[:, 1] - ends_mm[:, 0]  # along x, y, z
    return Box(box_voxels(image, ends_mm), float(sides_mm[:2].max()))


def _numbered(regions: Sequence[Region], ids: Sequence[str], like: Volume) -> Volume:
    """The regions as one instance mask, see `lesions.together`; none may be covered by others."""
    array = together(regions, like.shape)
    for number, (box, _) in enumerate(regions, start=1):
        if not (array[box] == number).any():
            raise InputError(
                f"every voxel of lesion {ids[number - 1]} belongs to another lesion of the scan, "
                "too; outline each lesion once, or number them in one mask and fill in mask_label."
            )
    return Volume(array, like.affine)


def find(segmenter: Segmenter, scan: ReferenceScan) -> Segmentation:
    """`segment`, whose errors name the scan."""
    try:
        return segment(segmenter, scan.image, scan.lungs)
    except InputError as error:
        raise InputError(f"{scan.name}: {error}") from error


def compare(
    found: Segmentation, scan: ReferenceScan, scores: pd.Series | None = None
) -> dict[str, pd.DataFrame]:
    """A scan's part of each table of `statistics.detection`: scans, lesions and candidates.

    Args:
      found: in the scan.
      scan: with its reference.
      scores: certainty of each finding by its number; None for the segmenter's own, which is their
        highest probability.
    """
    if scores is None:
        scores = found.lesions.set_index("lesion_id").max_probability
    lesions, candidates = agreement.by_lesion(found.mask, scan.truth, scores)
    ids = np.array(scan.lesion_ids, object)
    lesions["lesion_id"] = ids[lesions.lesion_id.to_numpy(int) - 1]
    candidates = candidates.merge(found.lesions, on="lesion_id", validate="one_to_one")
    boxed, hits = _by_box(scan, candidates)
    candidates.loc[candidates.lesion_id.isin(hits), "is_false"] = False
    mask = found.mask
    if scan.ignored is not None:
        inside = np.bincount(mask.array[scan.ignored.array], minlength=int(mask.array.max()) + 1)
        sizes = np.bincount(mask.array.ravel())
        mostly = np.flatnonzero(inside >= _MOSTLY * np.maximum(sizes, 1))
        of_neither = candidates.lesion_id.isin(mostly) & candidates.is_false
        dropped = candidates.lesion_id[of_neither]
        mask = Volume(np.where(np.isin(mask.array, dropped), 0, mask.array), mask.affine)
        candidates = candidates[~of_neither].reset_index(drop=True)
    whole = pd.DataFrame([dataclasses.asdict(agreement.agreement(mask, scan.truth))])
    whole["shared_voxels"] = scan.shared_voxels
    whole["view"] = scan.view
    whole["lungs"] = "found" if scan.lungs is None else "given"
    whole["series"], whole["notes"] = scan.series, " ".join(scan.image.notes)
    if scan.boxes:  # what is lesion is not known by voxel
        whole[["dice", "surface_dice", "hausdorff_95_mm", "true_mm3"]] = np.nan
    lesions = pd.concat([lesions, boxed], ignore_index=True) if len(boxed) else lesions
    return {"scans": whole, "lesions": lesions, "candidates": candidates}


def _by_box(scan: ReferenceScan, candidates: pd.DataFrame) -> tuple[pd.DataFrame, set[int]]:
    """The lesions known by their box, and the numbers of the findings whose middle lies in one.

    Their Dice is NaN.
    """
    rows, hits = [], set[int]()
    middles = (
        candidates[[f"box_{axis}_start" for axis in "zyx"]].to_numpy(float)
        + candidates[[f"box_{axis}_stop" for axis in "zyx"]].to_numpy(float)
        - 1
    ) / 2  # [N, 3]
    for name, box in scan.boxes.items():
        ends = ([getattr(side, end) for side in box.voxels] for end in ("start", "stop"))
        first, stop = map(np.array, ends)
        inside = ((middles > first - 1) & (middles < stop)).all(axis=1)
        hits |= set(candidates.lesion_id[inside])
        rows.append(
            {
                "lesion_id": name,
                "diameter_mm": box.diameter_mm,
                "volume_mm3": np.nan,
                "dice": np.nan,
                "is_found": bool(inside.any()),
                "score": float(candidates.score[inside].max()) if inside.any() else np.nan,
            }
        )
    return pd.DataFrame(rows), hits
