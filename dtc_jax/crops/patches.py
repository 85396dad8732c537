"""CT patches for the segmenter: about the lesions of a scan, and elsewhere in its lungs.

A patch has the form of a lesion's crop (see `record`): int16 HU at 1 mm with a margin, and the mask
of all lesions that it shows. Its `lesion_id` is that of the lesion in its middle, or the name of
the scan with -lung0, -vessel1 and so on behind it; a scan without a lesion has only such patches.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dtc_jax.crops import record
from dtc_jax.crops.extraction import Record, Scan
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import lesions, lungs, volume

# Of the lesion in the middle, NaN elsewhere; of all lesion in the patch. Columns of lesions.csv.
MEASURES = {"center_mm": "xyz", "diameter_mm": "", "volume_mm3": ""}

_DENSE_HU = -500.0  # within the lungs: vessels, and what else may pass for a lesion


@dataclasses.dataclass(frozen=True)
class PatchParams(record.CropParams):
    """How patches are taken.

    Attributes:
      size_mm: sides along z, y, x, at 1 mm a voxel: the network's field of view and a margin.
      about: 'lesions' and the lung field; or 'cubes': each image is a patch of its own already,
        which is kept about its middle.
      lesion_share: share of the patches that have a lesion in their middle, each lesion once. It
        holds for scans with lesions; one without gives as many others as one with a single lesion.
      vessel_share: share of the others whose middle is dense tissue, such as a vessel: the hard
        negatives. The rest is drawn evenly from the lung field.
      seed: of what is drawn; it depends on the scan's lesions too, and on nothing else.
    """

    size_mm: tuple[int, int, int] = (56, 80, 80)
    about: Literal["lesions", "cubes"] = "lesions"
    lesion_share: float = 0.5
    vessel_share: float = 0.5
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        if self.about not in ("lesions", "cubes"):
            raise UsageError(f"about is {self.about!r}; use 'lesions' or 'cubes'.")
        if not 0 < self.lesion_share <= 1:
            raise UsageError(f"lesion_share is {self.lesion_share}; it must be in (0, 1].")
        if not 0 <= self.vessel_share <= 1:
            raise UsageError(f"vessel_share is {self.vessel_share}; it must be in [0, 1].")


@dataclasses.dataclass(frozen=True)
class Part:
    """The patches of one scan: one about each of its lesions, and others.

    Attributes:
      scan: with its lesions.
      kinds: 'lung' or 'vessel' for each of the others.
      seed: of where they lie.
    """

    scan: Scan
    kinds: tuple[str, ...]
    seed: int

    def __len__(self) -> int:
        return len(self.scan) + len(self.kinds)


def parts(scans: Sequence[Scan], params: PatchParams) -> list[Part]:
    """How many patches of which kind each scan gives; their shares hold over many scans."""
    return [_part(scan, params) for scan in scans]


def _part(scan: Scan, params: PatchParams) -> Part:
    ids = [lesion.lesion_id for lesion in scan.lesions] or [scan.name]
    text = f"{params.seed}:{','.join(ids)}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    if params.about == "cubes":
        return Part(scan, (), seed)
    rng = np.random.default_rng(seed)
    wanted = max(len(scan), 1) * (1 - params.lesion_share) / params.lesion_share
    count = int(wanted) + int(rng.random() < wanted % 1)
    kinds = np.where(rng.random(count) < params.vessel_share, "vessel", "lung")
    return Part(scan, tuple(kinds.tolist()), seed)


def cut(part: Part, params: PatchParams) -> list[Record | InputError]:
    """The records of a scan, which is read once; an error in the place of what cannot be had."""
    scan = part.scan
    if not len(part):
        return []
    try:
        image = volume.read_image(scan.image)
    except InputError as error:
        names = [f"lesion {one.lesion_id}" for one in scan.lesions] or [_named(scan)]
        return [InputError(f"{name}: {error}") for name in names]
    masks: list[volume.Volume] = []
    errors: list[Record | InputError] = []
    for one in scan.lesions:
        try:
            masks.append(volume.read_mask(one.mask, image, one.mask_label))
        except InputError as error:
            errors.append(InputError(f"lesion {one.lesion_id}: {error}"))
    if errors:
        return errors
    every = volume.Volume(np.zeros(image.shape, bool), image.affine)
    for mask in masks:
        np.logical_or(every.array, mask.array, out=every.array)
    results: list[Record | InputError] = []
    for one, mask in zip(scan.lesions, masks, strict=True):
        center_mm = lesions.box_center_mm(mask)
        if params.about == "cubes":
            center_mm = image.world((np.array(image.shape) - 1) / 2)
        shown = record.about_lesion(image, every, center_mm, params)
        box = lesions.bounding_box(mask.array)
        diameter_mm = lesions.axial_diameter_mm(mask.array[box], mask.spacing_mm)
        results.append(_record(shown, one.patient_id, one.lesion_id, center_mm, diameter_mm))
    if part.kinds:
        try:
            results += _others(part, image, every, params)
        except InputError as error:
            results.append(InputError(f"{_named(scan)}: {error}"))
    return results


def _named(scan: Scan) -> str:
    """What an error calls a scan: files may be named after people."""
    if scan.lesions:
        return f"scan of lesion {scan.name}"
    return f"scan without a lesion of patient {scan.patient_id}"


def _others(
    part: Part, image: volume.Volume, every: volume.Volume, params: PatchParams
) -> list[Record]:
    """Patches about points of the lung field that are no lesion."""
    free = lungs.given_or_found(image, part.scan.lungs).array & ~every.array
    places = {"lung": np.flatnonzero(free)}
    places["vessel"] = np.flatnonzero(free & (image.array > _DENSE_HU))
    if not len(places["lung"]):
        raise InputError("its lungs are all lesion; check the mask.")
    rng = np.random.default_rng([part.seed, 1])
    found = []
    for i, kind in enumerate(part.kinds):
        among = places[kind] if len(places[kind]) else places["lung"]
        place = np.unravel_index(among[rng.integers(len(among))], image.shape)
        center_mm = image.world(np.array(place))
        shown = record.about(image, every, center_mm, params)
        name = f"{part.scan.name}-{kind}{i}"
        found.append(_record(shown, part.scan.patient_id, name, center_mm, np.nan))
    return found


def _record(
    shown: dict[str, np.ndarray],
    patient_id: str,
    name: str,
    center_mm: np.ndarray,
    diameter_mm: float,
) -> dict[str, Any]:
    return {
        **shown,
        "patient_id": patient_id,
        "lesion_id": name,
        "center_mm": np.asarray(center_mm, np.float32),
        "diameter_mm": np.float32(diameter_mm),
        "volume_mm3": np.float32(shown["mask"].sum()),  # voxels of 1 mm
    }
