"""The cases on which every format must give the numbers of the run: made of drawn intensities.

They are no patient's. Each is a file of arrays: the inputs of the model, and what it must answer.
"""

import dataclasses
import pathlib
from typing import Any, Literal

import numpy as np

from dtc_jax.errors import InputError
from dtc_jax.export.served import Served

PADDING = -3024  # HU that scanners write outside their field of view
_LUNG, _NOISE, _LESION, _AIR = -850.0, 40.0, 30.0, -1000
_CLEAR = 1e-6  # from the threshold; what is nearer would test how the last bit is rounded
_DRAWS = 20


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

    A draw in which a decision hangs on a last bit is left for the next one.

    Args:
      served: answers.
      folder: new.

    Raises:
      InputError: an answer is no finite number, or is the threshold itself, whatever is drawn.
    """
    folder.mkdir()
    for number, case in enumerate(CASES):
        for draw in range(_DRAWS):
            arrays = _draw(case, served.shape, np.random.default_rng((number, draw)))
            given = dict(zip((one.name for one in served.inputs), arrays, strict=False))
            answer = served.on_cpu(*given.values())
            if not all(np.isfinite(value).all() for value in answer.values()):
                raise InputError(
                    f"the network answers NaN or infinity to the case {case.name!r}; train again."
                )
            if not (abs(answer["probability"] - served.threshold) < _CLEAR).any():
                break
        else:
            raise InputError(
                f"the network's answer to the case {case.name!r} is its threshold; train again."
            )
        stored: dict[str, Any] = given | {f"expected_{name}": x for name, x in answer.items()}
        np.savez_compressed(folder / f"{case.name}.npz", **stored)


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
