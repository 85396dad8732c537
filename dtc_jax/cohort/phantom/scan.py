"""The scan of one patient: lesions placed in a thorax, acquired by a scanner, and stored."""

import dataclasses
import pathlib

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import transform

from dtc_jax.cohort.phantom import chest, lesion, people
from dtc_jax.cohort.phantom.grid import Block, Grid
from dtc_jax.cohort.phantom.spec import PhantomSpec
from dtc_jax.errors import UsageError
from dtc_jax.imaging import volume

_GAP_MM = 3.0  # between lesions
_BLUR_MM = 0.45  # standard deviation of the point spread of the first centre
_NOISE_GRAIN = 0.7  # correlation of the noise in the slice, in pixels


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The scan protocol of a centre.

    Attributes:
      offset_hu: calibration error.
      noise_hu: standard deviation of the noise.
      blur_mm: standard deviation of the point spread, without that of the voxel.
      slice_mm: distance of the slices.
    """

    offset_hu: float
    noise_hu: float
    blur_mm: float
    slice_mm: float


def protocol(spec: PhantomSpec, center: int) -> Protocol:
    """The protocol of a centre; the first is the reference, from which the others differ."""
    rng = people.generator(spec, 3, center)
    shift = spec.center_shift if center else 0.0
    return Protocol(
        offset_hu=shift * rng.choice([-1, 1]) * rng.uniform(15, 30),
        noise_hu=spec.noise_hu * (1 + shift * rng.uniform(0.3, 0.8)),
        blur_mm=_BLUR_MM * (1 + shift * rng.uniform(0.2, 0.8)),
        slice_mm=spec.spacing_mm[0] * (1 + shift * rng.uniform(0.2, 0.8)),
    )


def write(folder: pathlib.Path, spec: PhantomSpec, rows: pd.DataFrame) -> pd.DataFrame:
    """Draws and writes the scan and the instance mask of one patient.

    Args:
      folder: gets scans/ and masks/.
      spec: of the cohort.
      rows: of the patient, from `people.draw`.

    Returns:
      `rows` with image, mask, slice_mm and diameter_mm, which is measured on the mask.
    """
    first = rows.iloc[0]
    rng = people.generator(spec, 4, int(first.patient))
    scanner = protocol(spec, int(first.center_index))
    _, high, wide = spec.matrix
    spacing_mm = (scanner.slice_mm, spec.spacing_mm[1], spec.spacing_mm[2])
    slices = round(spec.matrix[0] * spec.spacing_mm[0] / scanner.slice_mm)
    grid = Grid((slices, high, wide), spacing_mm)
    hu, lung = chest.draw(grid, rng)
    instances = np.zeros(grid.shape, np.uint8)
    forms = [lesion.shape(row.drawn_mm, spacing_mm, rng) for row in rows.itertuples()]
    places = _places(lung, grid, forms, rng)
    for row, form, place in zip(rows.itertuples(), forms, places, strict=True):
        target, source = _overlap(place, form.depth_mm.shape, grid.shape)
        form = form.part(source)
        score = row.score - spec.effect / 2
        hu[target] = lesion.render(hu[target], form, score, spacing_mm, rng)
        instances[target][form.mask] = row.mask_label
    oblique = rng.random() < spec.oblique
    affine = _affine(grid, rng, tilt_deg=15.0 if oblique else 0.0)
    stored = [
        volume.Volume(array, affine) for array in (acquire(hu, grid, scanner, rng), instances)
    ]
    if oblique:
        order, flips = rng.permutation(3), rng.random(3) < 0.5
        stored = [_reordered(stored_volume, order, flips) for stored_volume in stored]
    names = [f"{kind}/{first.patient_id}.nii.gz" for kind in ("scans", "masks")]
    for name, stored_volume in zip(names, stored, strict=True):
        volume.write(folder / name, stored_volume)
    diameters_mm = [round(form.diameter_mm, 2) for form in forms]
    return rows.assign(
        image=names[0], mask=names[1], slice_mm=round(scanner.slice_mm, 3), diameter_mm=diameters_mm
    )


def _places(lung, grid, forms, rng) -> list[np.ndarray]:
    """The voxel of the centre of each lesion: inside a lung, without overlap."""
    step = np.array([2, 3, 3])
    coarse = lung[tuple(slice(None, None, int(s)) for s in step)]
    candidates = np.argwhere(coarse > 0)
    depth = coarse[tuple(candidates.T)]
    candidates = np.minimum(candidates * step, np.array(grid.shape) - 1)
    for _ in range(20):
        free = depth.copy()  # radius of the free ball around each candidate, in mm
        places: list[np.ndarray] = [np.zeros(3, int)] * len(forms)
        for i in sorted(range(len(forms)), key=lambda i: -forms[i].radius_mm):
            fits = np.flatnonzero(free > forms[i].radius_mm + 1)
            if not len(fits):
                break
            places[i] = candidates[rng.choice(fits)]
            distance_mm = np.linalg.norm((candidates - places[i]) * grid.spacing_mm, axis=1)
            free = np.minimum(free, distance_mm - forms[i].radius_mm - _GAP_MM)
        else:
            return places
    raise UsageError(
        f"a phantom of {' × '.join(f'{s:.0f}' for s in grid.fov_mm)} mm (z, y, x) has no room for "
        f"its {len(forms)} lesions; raise phantom.matrix or phantom.spacing_mm."
    )


def _overlap(
    place: np.ndarray, small: tuple[int, ...], large: tuple[int, ...]
) -> tuple[Block, Block]:
    """The overlap of a small grid around the voxel `place` with the large one, in both grids."""
    first = [int(middle) - n // 2 for middle, n in zip(place, small, strict=True)]
    low = [max(f, 0) for f in first]
    high = [min(f + n, size) for f, n, size in zip(first, small, large, strict=True)]
    z, y, x = (slice(a, b) for a, b in zip(low, high, strict=True))
    dz, dy, dx = (slice(a - f, b - f) for a, b, f in zip(low, high, first, strict=True))
    return (z, y, x), (dz, dy, dx)


def acquire(hu, grid, scanner: Protocol, rng) -> np.ndarray:
    """The acquired scan: with blur, noise and calibration error. # [Z, Y, X] int16

    Args:
      hu: what is there, float [Z, Y, X].
      grid: its voxels.
      scanner: blur, noise and calibration error.
      rng: of the noise.
    """
    spacing = np.array(grid.spacing_mm)
    # A voxel averages over its volume, with variance side² / 12.
    hu = ndimage.gaussian_filter(hu, np.sqrt(scanner.blur_mm**2 + spacing**2 / 12) / spacing)
    noise = rng.standard_normal(grid.shape, np.float32)
    noise = ndimage.gaussian_filter(noise, (0, _NOISE_GRAIN, _NOISE_GRAIN), truncate=3)
    hu += noise * (scanner.noise_hu * rng.uniform(0.9, 1.1) / noise.std()) + scanner.offset_hu
    return np.rint(np.clip(hu, -1024, 3071)).astype(np.int16)


def _affine(grid: Grid, rng, tilt_deg: float) -> np.ndarray:
    """Voxel (z, y, x) to RAS mm, with the middle of the scan near the origin. # [4, 4]"""
    rotation = transform.Rotation.from_euler(
        "xyz", rng.uniform(-tilt_deg, tilt_deg, 3), degrees=True
    )
    affine = np.eye(4)
    affine[:3, :3] = (
        rotation.as_matrix()[:, ::-1] * grid.spacing_mm
    )  # columns z, y, x; rows R, A, S
    affine[:3, 3] = rng.normal(0, 20, 3) - affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2)
    return affine


def _reordered(original: volume.Volume, order: np.ndarray, flips: np.ndarray) -> volume.Volume:
    """The same volume with permuted and partly reversed axes."""
    affine = original.affine.copy()
    affine[:3, :3] = original.affine[:3, order]
    array = original.array.transpose(order)
    for axis in np.flatnonzero(flips).tolist():
        affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
        affine[:3, axis] *= -1
        array = np.flip(array, axis)
    return volume.Volume(array, affine)
