"""What a review changes: what became of each lesion, and who decided."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.imaging import lesions
from dtc_jax.imaging.volume import Volume
from dtc_jax.prediction.answer import NOTICE

CHANGES = ("accepted", "rejected", "redrawn", "added", "removed", "unreviewed")
_COLUMNS = [
    *("lesion_id", "change", "volume_before_mm3", "volume_after_mm3", "probability_before"),
    *("probability_after", "reviewer", "comment", "notice"),
]
_RUNS = tuple("=+-@＝＋－＠")  # a spreadsheet would run a cell that begins so

Box = tuple[slice, ...]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a review is made from.

    Attributes:
      image: HU.
      old: the lesions' numbers as predicted.
      drawn: the same as edited, or `old`.
      table: lesions.csv of the prediction.
      verdicts: of `review.read_decisions`.
    """

    image: Volume
    old: Volume
    drawn: Volume
    table: pd.DataFrame
    verdicts: pd.DataFrame

    @functools.cached_property
    def _boxes(self) -> tuple[dict[int, Box], dict[int, Box]]:
        """The smallest box around each lesion that was predicted, and that is drawn."""
        return dict(lesions.numbered(self.old.array)), dict(lesions.numbered(self.drawn.array))

    @property
    def numbers(self) -> list[int]:
        """Of all lesions that were predicted or are drawn, rising."""
        return sorted({*self.table.lesion_id, *self._boxes[1]})

    def is_drawn(self, number: int) -> bool:
        """Whether a lesion has voxels in the drawn mask."""
        return number in self._boxes[1]

    def is_same(self, number: int) -> bool:
        """Whether a lesion has the same voxels, and any, as predicted and as drawn."""
        was, box = (boxes.get(number) for boxes in self._boxes)
        if box is None or was != box:
            return False
        return np.array_equal(self.old.array[box] == number, self.drawn.array[box] == number)

    def under(self, number: int) -> set[int]:
        """The predicted lesions that share a voxel with a drawn one."""
        box = self._boxes[1][number]
        return set(self.old.array[box][self.drawn.array[box] == number].tolist()) - {0}


def check_numbers(mask: storage.PathLike, inputs: Inputs, labels: Mapping[int, str]) -> None:
    """Refuses an edited mask in which a number is not that of its lesion any more.

    Editors may count the segments anew when one was deleted. The verdict and the label of a lesion
    would then go to another one.

    Args:
      mask: path of the edited mask, for messages.
      inputs: of the review.
      labels: by lesion; '' if not known.

    Raises:
      InputError: a known number lies where its lesion was not; or an accepted or labelled lesion is
        not in the mask.
    """
    for number in filter(inputs.is_drawn, inputs.table.lesion_id):
        under = inputs.under(number)
        if number not in under:
            which = f"lesion {min(under)}" if under else "no lesion"
            raise InputError(
                f"{mask}: number {number} lies where {which} was, and not where lesion {number} "
                "was; did the editor renumber the lesions? Save the mask with the original label "
                "values, and give a new lesion a new number."
            )
    for number, verdict in inputs.verdicts.set_index("lesion_id").verdict.items():
        if inputs.is_drawn(number) or verdict == "reject":
            continue
        if verdict == "accept" or labels.get(number):
            does = "which the review accepts" if verdict else "to which the review gives a label"
            raise InputError(
                f"{mask}: has no lesion {number}, {does}; did the editor renumber the lesions? "
                "Save the mask with the original label values; or, to delete the lesion, leave its "
                "verdict and its label empty."
            )


def check_labels(path: storage.PathLike, inputs: Inputs, labels: Mapping[int, str]) -> None:
    """Refuses the label of a lesion that nobody has reviewed: it would get into no manifest.

    Raises:
      InputError: there is one; names it.
    """
    verdicts = inputs.verdicts.set_index("lesion_id").verdict
    for number in sorted(number for number, label in labels.items() if label):
        if _change(inputs, number, verdicts.get(number)) == "unreviewed":
            raise InputError(
                f"{path}: lesion {number} has a label and no verdict; accept it, or leave the "
                "label empty."
            )


def table(inputs: Inputs, after: pd.DataFrame) -> pd.DataFrame:
    """A row for each lesion before or after the review: what became of it, and who decided."""
    verdicts = inputs.verdicts.set_index("lesion_id")
    was, now = (rows.set_index("lesion_id") for rows in (inputs.table, after))
    rows = [
        {
            "lesion_id": number,
            "change": _change(inputs, number, verdicts.verdict.get(number)),
            "volume_before_mm3": was.volume_mm3.get(number),
            "volume_after_mm3": now.volume_mm3.get(number),
            "probability_before": was.refractory_probability.get(number),
            "probability_after": now.refractory_probability.get(number),
            "reviewer": _guarded(verdicts.reviewer.get(number, "")),
            "comment": _guarded(verdicts.comment.get(number, "")),
            "notice": NOTICE,
        }
        for number in inputs.numbers
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _change(inputs: Inputs, number: int, verdict: str | None) -> str:
    """What became of a lesion.

    Args:
      inputs: of the review.
      number: of the lesion.
      verdict: of the reader; None where the review has no row for a lesion that was drawn.
    """
    if number not in set(inputs.table.lesion_id):
        return "added"
    if verdict == "reject":
        return "rejected"
    if not inputs.is_drawn(number):
        return "removed"
    if not inputs.is_same(number):
        return "redrawn"
    return "accepted" if verdict == "accept" else "unreviewed"


def counts(changes: pd.DataFrame) -> str:
    """The number of changes of each kind, in words, and how many have no reviewer's name."""
    numbers = changes.change.value_counts()
    named = [f"{numbers[name]} {name}" for name in CHANGES if name in numbers]
    missing = len(nameless(changes))
    unnamed = f"; {missing} of them without a reviewer's name" if missing else ""
    return (", ".join(named) or "of no lesion") + unnamed


def nameless(changes: pd.DataFrame) -> list[int]:
    """The lesions with a decision for which the review names no reviewer."""
    unnamed = (changes.reviewer == "") & (changes.change != "unreviewed")
    return changes.lesion_id[unnamed].tolist()


def _guarded(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip().startswith(_RUNS) else text
