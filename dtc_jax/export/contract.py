"""The cases on which every format must give the numbers of the run: made of drawn intensities.

They are no patient's. Each is a file of arrays: the inputs of the model, and what it must answer.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dtc_jax.errors import InputError
from dtc_jax.export.served import Served

PADDING = -3024  # HU that scanners write outside their field of view
_LUNG, _NOISE, _LESION, _AIR = -850.0, 40.0, 30.0, -1000
_CLEAR = 1e-6  # from the threshold; what is nearer would test how the last bit is rounded
_DRAWS = 20
_BATCH = 8


@dataclasses.dataclass(frozen=True)
class Case:
    """A batch of one file.

    Attributes:
      name: of the file.
      batch: examples.
      diameters_mm: of the dense ball in the middle of each, from and to.
      kind: 'lung' around the balls; 'padded': the field of view ends within each example; 'air'
        throughout; 'extremes' of int16 and of CT.
    """

    name: str
    batch: int
    diameters_mm: tuple[float, float] = (4.0, 20.0)
    kind: Literal["lung", "padded", "air", "extremes"] = "lung"


CASES = (
    Case("one", 1),
    Case("three", 3),
    Case("eight", 8),
    Case("smallest", 1, (0.5, 0.5)),
    Case("largest", 1, (1e3, 1e3)),
    Case("padding", 3, kind="padded"),
    Case("air", 1, kind="air"),
    Case("extremes", 1, kind="extremes"),
)


def write(served: Served, folder: pathlib.Path) -> None:
    """Writes the cases, and what the run's network answers on this machine's CPU.

    Where a decision hangs on a last bit, the case is drawn again.

    Args:
      served: answers.
      folder: new.

    Raises:
      InputError: an answer is no finite number, or is the threshold itself, whatever is drawn.
    """
    folder.mkdir()
    left = list(enumerate(CASES))
    for draw in range(_DRAWS):
        drawn = [_draw(case, served.shape, np.random.default_rng((i, draw))) for i, case in left]
        names = [one.name for one in served.inputs]
        given = [dict(zip(names, arrays, strict=False)) for arrays in drawn]
        unclear = []
        for (i, case), arrays, answer in zip(left, given, _answers(served, given), strict=True):
            if not all(np.isfinite(value).all() for value in answer.values()):
                raise InputError(
                    f"the network answers NaN or infinity to the case {case.name!r}; train again."
                )
            if (abs(answer["probability"] - served.threshold) < _CLEAR).any():
                unclear.append((i, case))
                continue
            stored: dict[str, Any] = arrays | {f"expected_{k}": x for k, x in answer.items()}
            np.savez_compressed(folder / f"{case.name}.npz", **stored)
        left = unclear
        if not left:
            return
    raise InputError(
        f"the network's answer to the case {left[0][1].name!r} is its threshold; train again."
    )


def _answers(served: Served, given: Sequence[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """The answer to each case. All are computed in batches of one size, which is compiled once."""
    ends = np.cumsum([len(arrays["image"]) for arrays in given])
    joined = [np.concatenate([arrays[name] for arrays in given]) for name in given[0]]
    parts = []
    for first in range(0, ends[-1], _BATCH):
        some = [array[first : first + _BATCH] for array in joined]
        lack = _BATCH - len(some[0])
        full = [np.concatenate([array, np.repeat(array[-1:], lack, axis=0)]) for array in some]
        answer = served.on_cpu(*full)
        parts.append({name: value[: len(some[0])] for name, value in answer.items()})
    together = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    divided = {name: np.split(value, ends[:-1]) for name, value in together.items()}
    return [{name: values[i] for name, values in divided.items()} for i in range(len(given))]


def _draw(
    case: Case, shape: tuple[int, int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """HU int16 and mask uint8 [B, d, h, w]."""
    at = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"))
    away = np.sqrt((at**2).sum(axis=0))
    diameters = np.geomspace(*case.diameters_mm, case.batch)
    mask = np.stack([away <= max(diameter / 2, away.min()) for diameter in diameters])
    if case.kind == "extremes":
        ends = [np.iinfo(np.int16).min, PADDING, 0, 3071, np.iinfo(np.int16).max]
        return rng.choice(ends, mask.shape).astype(np.int16), mask.astype(np.uint8)
    if case.kind == "air":
        return np.full(mask.shape, _AIR, np.int16), np.zeros(mask.shape, np.uint8)
    dense = np.linspace(_LESION - 300, _LESION + 300, case.batch)[:, None, None, None]
    hu = np.where(mask, dense, _LUNG) + rng.normal(0, _NOISE, mask.shape)
    image = np.rint(hu).astype(np.int16)
    for axis, one in enumerate(image if case.kind == "padded" else ()):
        np.moveaxis(one, axis % 3, 0)[: shape[axis % 3] // 3] = PADDING
    return image, mask.astype(np.uint8)
