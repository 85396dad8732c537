"""The numbers of an edited mask are those of the lesions, or the mask is refused."""

import numpy as np
import pandas as pd
import pytest

from dtc_jax.errors import InputError
from dtc_jax.imaging.volume import Volume
from dtc_jax.prediction import changes

OLD = np.zeros((8, 9, 9), np.uint16)
OLD[1:5, 1:5, 1:5], OLD[1:4, 6:8, 6:8], OLD[6:8, 1:3, 6:8] = 1, 2, 3


def _inputs(drawn, *verdicts):
    """Of lesions 1, 2, 3 with a verdict each."""
    table = pd.DataFrame({"lesion_id": [1, 2, 3]})
    decided = table.assign(verdict=verdicts, comment="", reviewer="")
    scan = Volume(np.zeros(OLD.shape, np.int16), np.eye(4))
    return changes.Inputs(scan, *(Volume(a, np.eye(4)) for a in (OLD, drawn)), table, decided)


def _without(number):
    drawn = OLD.copy()
    drawn[drawn == number] = 0
    return drawn


def _counted_anew():
    """Lesion 2 was deleted, and 3 is saved as 2."""
    return np.choose(OLD, [0, 1, 0, 2]).astype(np.uint16)


def _missed_as_rejected():
    """A missed lesion has the number of a rejected one."""
    drawn = _without(2)
    drawn[6:8, 6:8, 1:3] = 2
    return drawn


REFUSED = {
    "counted anew": (
        _counted_anew(),
        ("accept", "reject", "accept"),
        {},
        "e.nrrd: number 2 lies where lesion 3 was, .* original label values",
    ),
    "counted anew, all accepted": (
        _counted_anew(),
        ("accept", "accept", "accept"),
        {2: "1", 3: "0"},
        "number 2 lies where lesion 3 was",
    ),
    "missed": (
        _missed_as_rejected(),
        ("accept", "reject", "accept"),
        {},
        "number 2 lies where no lesion was, .* give a new lesion a new number",
    ),
    "accepted and not there": (
        _without(3),
        ("", "", "accept"),
        {},
        "e.nrrd: has no lesion 3, which the review accepts",
    ),
    "labelled and not there": (
        _without(1),
        ("", "", ""),
        {1: "0", 2: ""},
        "has no lesion 1, to which the review gives a label",
    ),
}


@pytest.mark.parametrize(("drawn", "verdicts", "labels", "message"), REFUSED.values(), ids=REFUSED)
def test_numbers_that_are_not_the_lesions_are_refused(drawn, verdicts, labels, message):
    with pytest.raises(InputError, match=message):
        changes.check_numbers("e.nrrd", _inputs(drawn, *verdicts), labels)


def test_what_is_erased_grown_or_deleted_keeps_its_number():
    drawn = OLD.copy()
    drawn[1:4, 1:5, 1:5] = 0  # most of lesion 1
    drawn[1:5, 5:8, 5:9] = 2  # grown
    drawn[OLD == 3] = 0
    drawn[6:8, 6:8, 1:3] = 4
    inputs = _inputs(drawn, "accept", "accept", "")
    changes.check_numbers("e.nrrd", inputs, {1: "1", 3: ""})
    changes.check_numbers("e.nrrd", _inputs(_without(2), "", "reject", ""), {2: "1"})
    changes.check_numbers("e.nrrd", _inputs(OLD, "accept", "reject", ""), {1: "1"})
