"""CT patches for the segmenter: about the lesions of a scan, and elsewhere in its lungs.

A patch has the form of a lesion's crop (see `record`): int16 HU with a margin, and the mask of all
lesions that it shows, in which `IGNORED` marks what is neither lesion nor background. Unlike a crop
it is a window of the grid on which the network sees the whole scan (see `imaging.grid`), so its
middle is a voxel of that grid. Its `lesion_id` is that of the lesion in its middle, or the name of
the scan with -lung0, -vessel1 and so on behind it; a scan without a lesion has only such patches. A
cube, which is cut out about its lesion already, is one patch about its own middle.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import Literal

import edt
import numpy as np

from dtc_jax.cohort import manifest
from dtc_jax.crops import extraction, record
from dtc_jax.crops.extraction import Note, Record, Scan
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import ct, grid, lesions, lungs, volume
from dtc_jax.imaging.preprocess import IGNORED, Preprocess
from dtc_jax.imaging.resample import resample_mask

# Columns of lesions.csv: the voxel in the middle; diameter and volume of the lesion there on the
# scan's grid, NaN and 0 elsewhere; volume of all lesion in the patch on the network's grid.
MEASURES = {"center_mm": "xyz", "diameter_mm": "", "lesion_mm3": "", "volume_mm3": ""}

ARRAYS = ("image", "mask", "extent")  # of a record

_DENSE_HU = -500.0  # within the lungs: vessels, and what else may pass for a lesion
_BORDER_MM = 4.0  # of the lung field: pleura, diaphragm, mediastinum and hila lie within


@dataclasses.dataclass(frozen=True)
class PatchParams(record.CropParams):
    """How patches are taken.

    Attributes:
      size_mm: sides along z, y, x: the network's field of view and a margin.
      spacing_mm: of the network's grid, on which patches are stored.
      antialias: see `preprocess.Preprocess`.
      about: 'lesions' and the lung field; or 'cubes': each image is a cube.
      lesion_share: share of the patches that have a lesion in their middle, each lesion once. It
        holds for scans with lesions; one without gives as many others as one with a single lesion.
      vessel_share: share of the others whose middle is dense tissue, such as a vessel.
      border_share: share of the others whose middle is at the border of the lung field. The rest is
        drawn evenly from the field.
      other_per_scan: least number of the others of a scan that is no cube.
      seed: of what is drawn; it depends on the scan's lesions too, and on nothing else.
    """

    size_mm: tuple[int, int, int] = (56, 80, 80)
    spacing_mm: float = 1.0
    antialias: Literal["gaussian", "none"] = "gaussian"
    about: Literal["lesions", "cubes"] = "lesions"
    lesion_share: float = 0.5
    vessel_share: float = 0.5
    border_share: float = 0.0
    other_per_scan: int = 0
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        if self.about not in ("lesions", "cubes"):
            raise UsageError(f"about is {self.about!r}; use 'lesions' or 'cubes'.")
        if not 0 < self.lesion_share <= 1:
            raise UsageError(f"lesion_share is {self.lesion_share}; it must be in (0, 1].")
        shares = (self.vessel_share, self.border_share)
        if not (min(shares) >= 0 and sum(shares) <= 1):
            raise UsageError(
                f"vessel_share is {shares[0]}, border_share {shares[1]}; neither may be negative, "
                "nor their sum above 1."
            )
        if self.other_per_scan < 0:
            raise UsageError(f"other_per_scan is {self.other_per_scan}; it must be at least 0.")
        object.__setattr__(self, "spacing_mm", float(self.spacing_mm))
        assert self.spec  # raises what is wrong with the grid

    @property
    def spec(self) -> Preprocess:
        """The grid of the patches."""
        return Preprocess(self.size_mm, self.spacing_mm, grid="scan", antialias=self.antialias)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of a patch along z, y, x."""
        return self.spec.shape


@dataclasses.dataclass(frozen=True)
class Part:
    """The patches of one scan: one about each of its lesions, and others.

    Attributes:
      scan: with its lesions.
      kinds: 'lung', 'vessel' or 'border' for each of the others.
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
    if params.about == "cubes" or scan.is_cube:
        return Part(scan, (), seed)
    rng = np.random.default_rng(seed)
    wanted = max(len(scan), 1) * (1 - params.lesion_share) / params.lesion_share
    count = max(int(wanted) + int(rng.random() < wanted % 1), params.other_per_scan)
    drawn = rng.random(count)
    ends = [params.vessel_share, params.vessel_share + params.border_share]
    kinds = np.array(["vessel", "border", "lung"])[np.searchsorted(ends, drawn, side="right")]
    return Part(scan, tuple(kinds.tolist()), seed)


@dataclasses.dataclass(frozen=True)
class OpenScan:
    """A scan of which patches can be cut out anywhere.

    Attributes:
      scan: that it is.
      image: HU.
      known: what is no background, the lesions and what is ignored, bool on the grid of `image`.
      seen: HU on the network's grid.
      target: lesion, background or `IGNORED`, on the same.
      params: of the patches.
    """

    scan: Scan
    image: volume.Volume
    known: np.ndarray
    seen: volume.Volume
    target: volume.Volume
    params: PatchParams

    def patch(
        self,
        center_mm: np.ndarray,
        name: str,
        diameter_mm: float = np.nan,
        lesion_mm3: float = 0.0,
    ) -> Record:
        """The window of the scan and its mask about the voxel nearest a point of the world [3].

        Args:
          center_mm: the point.
          name: of the record.
          diameter_mm, lesion_mm3: of the lesion there, if there is one.
        """
        params, place = self.params, grid.nearest(self.seen, center_mm)
        image, extent = grid.window(self.seen.array, place, params.shape, params.fill)
        mask, _ = grid.window(self.target.array, place, params.shape, fill=0)
        return {
            "image": image,
            "mask": mask,
            "extent": extent,
            "patient_id": self.scan.patient_id,
            "lesion_id": name,
            "center_mm": np.asarray(self.seen.world(place), np.float32),
            "diameter_mm": np.float32(diameter_mm),
            "lesion_mm3": np.float32(lesion_mm3),
            "volume_mm3": np.float32((mask == 1).sum() * params.spacing_mm**3),
        }


def opened(
    scan: Scan, image: volume.Volume, masks: Sequence[volume.Volume], params: PatchParams
) -> OpenScan:
    """What patches are cut out of.

    Args:
      scan: with what is to be ignored.
      image: of it, HU.
      masks: of its lesions, bool on the grid of `image`.
      params: of the patches.

    Raises:
      InputError: what is to be ignored cannot be read or does not fit the scan.
    """
    ignored = _ignored(scan, image)
    boxes = [lesions.bounding_box(mask.array) for mask in masks]
    regions = [(box, mask.array[box]) for box, mask in zip(boxes, masks, strict=True)]
    numbered = lesions.together(regions, image.shape)
    every = numbered > 0
    lesion = grid.lesions_to_grid(volume.Volume(numbered, image.affine), params.spec)
    target, known = lesion.array.astype(np.uint8), every
    if ignored is not None:
        target[resample_mask(ignored, params.spacing_mm).array & ~lesion.array] = IGNORED
        known = every | ignored.array
    seen = grid.to_grid(image, params.spec)
    return OpenScan(scan, image, known, seen, volume.Volume(target, seen.affine), params)


def cut(part: Part, params: PatchParams) -> list[Record | InputError | Note]:
    """The records of a scan, which is read once; errors stand for records that cannot be made.

    Notes on the scan follow them.
    """
    scan = part.scan
    if not len(part):
        return []
    try:
        image = ct.read(scan.image)
    except InputError as error:
        names = [f"lesion {one.lesion_id}" for one in scan.lesions] or [scan.title]
        return [InputError(f"{name}: {error}") for name in names]
    masks: list[volume.Volume] = []
    errors: list[Record | InputError | Note] = []
    for one in scan.lesions:
        try:
            masks.append(volume.read_mask(one.mask, image, one.mask_label))
        except InputError as error:
            errors.append(InputError(f"lesion {one.lesion_id}: {error}"))
    if errors:
        return errors
    try:
        source = opened(scan, image, masks, params)
    except InputError as error:
        return [InputError(f"{scan.title}: {error}")]
    results: list[Record | InputError | Note] = []
    for one, mask in zip(scan.lesions, masks, strict=True):
        box = lesions.bounding_box(mask.array)
        center_mm = lesions.middle_mm(image, box)
        if params.about == "cubes" or scan.is_cube:
            center_mm = image.world((np.array(image.shape) - 1) / 2)
        lesion = mask.array[box]
        diameter_mm = lesions.axial_diameter_mm(lesion, mask.spacing_mm)
        lesion_mm3 = lesion.sum() * float(np.prod(mask.spacing_mm))
        results.append(source.patch(center_mm, one.lesion_id, diameter_mm, lesion_mm3))
    if part.kinds:
        try:
            for name, center_mm in _others(part, image, source.known):
                results.append(source.patch(center_mm, name))
        except InputError as error:
            results.append(InputError(f"{scan.title}: {error}"))
    return results + extraction.notes_of(scan, image)


def _ignored(scan: Scan, image: volume.Volume) -> volume.Volume | None:
    """What is neither lesion nor background, bool on the grid of `image`; None if there is nothing.

    Raises:
      InputError: the mask cannot be read or does not fit the scan.
    """
    if not scan.ignore and not scan.boxes_mm:
        return None
    ignored = np.zeros(image.shape, bool)
    if scan.ignore:
        ignored |= volume.read_region(scan.ignore, image).array
    for text in scan.boxes_mm:
        ignored[lesions.box_voxels(image, manifest.parse_box(text))] = True
    return volume.Volume(ignored, image.affine)


def _others(
    part: Part, image: volume.Volume, taken: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Names of points of the lung field that are not `taken`, and where they are in the world."""
    field = lungs.given_or_found(image, part.scan.lungs).array
    free = field & ~taken
    places = {"lung": np.flatnonzero(free)}
    places["vessel"] = np.flatnonzero(free & (image.array > _DENSE_HU))
    if "border" in part.kinds:
        inside = edt.edt(field, anisotropy=tuple(image.spacing_mm), black_border=False)
        places["border"] = np.flatnonzero(free & (inside <= _BORDER_MM))
    if not len(places["lung"]):
        raise InputError("the lesion mask covers the whole lungs; check the mask.")
    rng = np.random.default_rng([part.seed, 1])
    for i, kind in enumerate(part.kinds):
        among = places[kind] if len(places[kind]) else places["lung"]
        place = np.unravel_index(among[rng.integers(len(among))], image.shape)
        yield f"{part.scan.name}-{kind}{i}", image.world(np.array(place))
