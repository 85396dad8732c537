"""Lesions that somebody has outlined already, as the classifier takes them: numbered on the scan.

They come as a mask on the grid of the scan, or as a CSV of points with a radius:

| column | | |
|---|---|---|
| x_mm, y_mm, z_mm | required | middle of the lesion in RAS world coordinates |
| radius_mm | required | of the ball that stands for the lesion |
| lesion_id | | its number, from 1; by default the rows are counted |
"""

import dataclasses
import math
import pathlib
from collections.abc import Iterator

import numpy as np
import pandas as pd

from dtc_jax import csv_reader
from dtc_jax.csv_reader import Problem, TableError
from dtc_jax.errors import InputError
from dtc_jax.imaging import lesions, volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.statistics import formatting
from dtc_jax.storage import PathLike

_POINT = ("x_mm", "y_mm", "z_mm")
COLUMNS = (*_POINT, "radius_mm", "lesion_id")
_MOST_MM = 150.0  # radius; a larger one is in another unit


@dataclasses.dataclass(frozen=True)
class Outlines:
    """Outlined lesions.

    Attributes:
      mask: their numbers, uint16 on the grid of the scan.
      statement: how they were outlined, in words, for the page.
      warning: what a reader must know of them before judging, as a sentence; '' for nothing.
    """

    mask: Volume
    statement: str
    warning: str = ""


def read(path: PathLike, image: Volume) -> Outlines:
    """Reads the lesions of a scan from a mask or a CSV.

    Args:
      path: a CSV, see the module's docstring; or a mask on the grid of `image`, see
        `volume.read_numbers`, whose numbers are the lesions. If all its voxels have one number,
        each connected piece is a lesion, the largest first.
      image: the scan.

    Raises:
      InputError: names the file and what is wrong with it: it has no lesion, is on another grid, or
        a point is outside the scan.
    """
    if pathlib.Path(path).suffix.lower() == ".csv":
        return _balls(path, image)
    numbers = volume.read_numbers(path, image)
    if not numbers.any():
        raise InputError(f"{path}: the mask is empty; outline at least one lesion.")
    values = np.unique(numbers[numbers != 0])
    if len(values) == 1:
        numbers, statement = _pieces(numbers != 0)
    else:
        statement = f"given as a mask of {len(values)} numbered lesions"
    if numbers.max() > lesions.MOST:
        raise InputError(f"{path}: has numbers above {lesions.MOST}; number the lesions from 1.")
    return Outlines(Volume(numbers.astype(np.uint16), image.affine), statement)


def _pieces(mask: np.ndarray) -> tuple[np.ndarray, str]:
    pieces = lesions.components(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    order = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    renumbered = np.zeros(len(sizes), np.int64)
    renumbered[order] = np.arange(1, len(order) + 1)
    count = len(order)
    if count == 1:
        return renumbered[pieces], "given as a mask of one lesion"
    return (
        renumbered[pieces],
        f"given as a mask of one number; each of its {count} connected pieces counts as a lesion",
    )


def _balls(path: PathLike, image: Volume) -> Outlines:
    cells = csv_reader.read(path, "the CSV of lesions", each="lesion")
    problems = [*_problems(cells)]
    if problems:
        raise TableError(path, problems)
    table = cells[[*_POINT, "radius_mm"]].astype(float)
    numbers = range(1, len(cells) + 1)
    table["lesion_id"] = cells.lesion_id.astype(int) if "lesion_id" in cells else numbers
    mask = np.zeros(image.shape, np.uint16)
    # The small ones last, so that a large one beside them does not take their voxels.
    for row in table.sort_values("radius_mm", ascending=False, kind="stable").itertuples():
        center_mm = np.array([row.x_mm, row.y_mm, row.z_mm])
        if not _draw(mask, image, center_mm, row.radius_mm, row.lesion_id):
            problems.append(
                Problem(
                    row.Index, "x_mm", "the point is outside the scan; give RAS coordinates in mm."
                )
            )
    lost = table[~table.lesion_id.isin(np.unique(mask))].index
    problems += [
        Problem(row, "radius_mm", "other lesions cover this ball; delete a row, or correct it.")
        for row in lost.difference([problem.row for problem in problems])
    ]
    if problems:
        raise TableError(path, problems)
    statement = f"given as {formatting.count(len(table), 'point')} with a radius"
    warning = (
        "No lesion was outlined: each stands for a ball about a given point, which is what the "
        "axes, the volume, the density and the probability are of."
    )
    return Outlines(Volume(mask, image.affine), statement, warning)


def _draw(
    mask: np.ndarray, image: Volume, center_mm: np.ndarray, radius_mm: float, number: int
) -> bool:
    """Writes a ball into `mask`, at least the voxel at its middle; whether that is in the scan."""
    middle = np.linalg.solve(image.affine[:3, :3], center_mm - image.affine[:3, 3])  # (z, y, x)
    nearest = np.rint(middle)
    if np.any(nearest < 0) or np.any(nearest >= image.shape):
        return False
    nearest = nearest.astype(int)
    reach = np.ceil(radius_mm / image.spacing_mm).astype(int) + 1
    box = tuple(
        slice(max(n - r, 0), min(n + r + 1, side))
        for n, r, side in zip(nearest, reach, image.shape, strict=True)
    )
    steps = np.moveaxis(np.indices([side.stop - side.start for side in box]), 0, -1)  # [d, h, w, 3]
    voxels = steps + [side.start for side in box]
    away_mm = np.linalg.norm((voxels - middle) @ image.affine[:3, :3].T, axis=-1)  # [d, h, w]
    mask[box][away_mm <= radius_mm] = number
    mask[tuple(nearest)] = number
    return True


def _problems(cells: pd.DataFrame) -> Iterator[Problem]:
    missing = [name for name in (*_POINT, "radius_mm") if name not in cells]
    for name in missing:
        yield Problem(1, name, f"no such column; add it to {', '.join(cells)}.")
    for name in [name for name in COLUMNS if name in cells]:
        for row, text in cells[name].items():
            if wrong := _wrong(name, text):
                yield Problem(int(str(row)), name, f"{text!r} {wrong}")
    if "lesion_id" in cells:
        for row in cells.index[cells.lesion_id.str.lstrip("0").duplicated()]:  # 01 is 1
            yield Problem(row, "lesion_id", "another row has this number; give each its own.")


def _wrong(name: str, text: str) -> str:
    """What is wrong with a cell; '' if nothing is."""
    number = csv_reader.number(text)
    if name == "lesion_id":
        valid = text.isdecimal() and 1 <= number <= lesions.MOST
        return "" if valid else f"is not a whole number from 1 to {lesions.MOST}."
    if not math.isfinite(number):
        return f"is not a number of mm{csv_reader.not_a_number(text)}."
    if name == "radius_mm" and not 0 < number <= _MOST_MM:
        return f"is not a radius in mm above 0 and up to {_MOST_MM:.0f}."
    return ""
