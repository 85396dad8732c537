"""CT patches for the segmenter: about the lesions of a scan, and elsewhere in its lungs.

A patch has the form of a lesion's crop (see `record`): int16 HU at 1 mm with a margin, and the mask
of all lesions that it shows. Its `lesion_id` is that of the lesion in its middle, or the scan's
first with -lung0, -vessel1 and so on behind it.
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
      lesion_share: share of the patches that have a lesion in their middle, each lesion once.
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
    """The patches of one scan: as many as it has lesions, and others.

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
    text = f"{params.seed}:{','.join(lesion.lesion_id for lesion in scan.lesions)}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    if params.about == "cubes":
        return Part(scan, (), seed)
    rng = np.random.default_rng(seed)
    wanted = len(scan) * (1 - params.lesion_share) / params.lesion_share
    count = int(wanted) + int(rng.random() < wanted % 1)
    kinds = np.where(rng.random(count) < params.vessel_share, "vessel", "lung")
    return Part(scan, tuple(kinds.tolist()), seed)


def cut(part: Part, params: PatchParams) -> list[Record | InputError]:
    """The records of a scan, which is read once; an error in the place of what cannot be had."""
    scan = part.scan
    try:
        image = volume.read_image(scan.image)
    except InputError as error:
        return [InputError(f"lesion {one.lesion_id}: {error}") for one in scan.lesions]
    masks: list[volume.Volume] = []
    errors: list[Record | InputError] = []
    for one in scan.lesions:
        try:
            masks.append(volume.read_mask(one.mask, image, one.mask_label))
        except InputError as error:
            errors.append(InputError(f"lesion {one.lesion_id}: {error}"))
    if errors:
        return errors
    every = volume.Volume(np.any([mask.array for mask in masks], axis=0), image.affine)
    results: list[Record | InputError] = []
    for one, mask in zip(scan.lesions, masks, strict=True):
        center_mm = lesions.box_center_mm(mask)
        if params.about == "cubes":
            center_mm = image.world((np.array(image.shape) - 1) / 2)
        shown = record.about_lesion(image, every, center_mm, params)
        box = lesions.bounding_box(mask.array)
        diameter_mm = lesions.axial_diameter_mm(mask.array[box], mask.spacing_mm)
        results.append(_record(shown, one, one.lesion_id, center_mm, diameter_mm))
    if part.kinds:
        try:
            results += _others(part, image, every, params)
        except InputError as error:
            results.append(InputError(f"scan of lesion {scan.lesions[0].lesion_id}: {error}"))
    return results


def _others(
    part: Part, image: volume.Volume, every: volume.Volume, params: PatchParams
) -> list[Record]:
    """Patches about points of the lung field that are no lesion."""
    free = lungs.lung_field(image).array & ~every.array
    places = {"lung": np.flatnonzero(free)}
    places["vessel"] = np.flatnonzero(free & (image.array > _DENSE_HU))
    if not len(places["lung"]):
        raise InputError("its lungs are all lesion; check the mask.")
    rng = np.random.default_rng([part.seed, 1])
    first = part.scan.lesions[0]
    found = []
    for i, kind in enumerate(part.kinds):
        among = places[kind] if len(places[kind]) else places["lung"]
        place = np.unravel_index(among[rng.integers(len(among))], image.shape)
        center_mm = image.world(np.array(place))
        shown = record.about(image, every, center_mm, params)
        found.append(_record(shown, first, f"{first.lesion_id}-{kind}{i}", center_mm, np.nan))
    return found


def _record(
    shown: dict[str, np.ndarray],
    lesion: record.Lesion,
    name: str,
    center_mm: np.ndarray,
    diameter_mm: float,
) -> dict[str, Any]:
    return {
        **shown,
        "patient_id": lesion.patient_id,
        "lesion_id": name,
        "center_mm": np.asarray(center_mm, np.float32),
        "diameter_mm": np.float32(diameter_mm),
        "volume_mm3": np.float32(shown["mask"].sum()),  # voxels of 1 mm
    }
