"""Whether two runs that are set beside each other have lesions in common."""

import pandas as pd

from dtc_jax import patient_ids
from dtc_jax.errors import InputError

_LESION = ["patient_id", "lesion_id"]
_WORDS = {True: ("lesion", "lesions"), False: ("prediction of a fold", "predictions of folds")}


def key(ours: pd.DataFrame, theirs: pd.DataFrame) -> list[str]:
    """The columns by which rows of two runs are matched.

    Patient and lesion; and the fold where a lesion has several rows. Otherwise folds are no part of
    it: two runs may divide the same lesions differently.
    """
    several = any(rows.duplicated(_LESION).any() for rows in (ours, theirs))
    return ["fold", *_LESION] if several else _LESION


def notes(table: pd.DataFrame) -> list[str]:
    """A sentence for each run that shares no lesion, or not all, with the first run.

    Args:
      table: of `predictions_table.complete`, of one or several runs.

    Raises:
      InputError: two runs share no lesion of a cohort and split, but would if their ids were
        spelled alike: leading zeros that a spreadsheet has removed, say.
    """
    found = []
    for (cohort, split), rows in table.groupby(["cohort", "split"], sort=False):
        runs = {str(run): part for run, part in rows.groupby("run", sort=False)}
        first = str(table.run.iloc[0])
        for run in [name for name in runs if name != first and first in runs]:
            rows_of = [runs[name] for name in (first, run)]
            by = key(*rows_of)
            ours, theirs = (_names(part, by) for part in rows_of)
            shared = ours & theirs
            where = f"{first} and {run}, {cohort}, {split}"
            what, several = _WORDS[by == _LESION]
            if not shared:
                one, two = (_names(part, _LESION) for part in rows_of)
                if not one & two:
                    _refuse_other_spelling(where, one, two)
                found.append(
                    f"{where}: the runs have no {what} in common, so they are not compared; if "
                    "they are of the same lesions, give these the same patient_id and lesion_id."
                )
            elif shared != ours | theirs:
                alone = f"{len(ours - shared)} and {len(theirs - shared)}"
                found.append(
                    f"{where}: they are compared on the {len(shared)} {several} "
                    f"that both have; {alone} others are in one of them alone."
                )
    return found


def _names(rows: pd.DataFrame, by: list[str]) -> set[tuple]:
    return set(rows[by].itertuples(index=False, name=None))


def _refuse_other_spelling(where: str, ours: set[tuple], theirs: set[tuple]) -> None:
    spelled = {_bare(lesion): lesion for lesion in ours}
    for lesion in sorted(theirs):
        other = spelled.get(_bare(lesion))
        if other is not None:
            one, two = (" / ".join(map(ascii, names)) for names in (other, lesion))
            raise InputError(
                f"{where}: the tables have no lesion in common, but {one} in one looks like {two} "
                "in the other (patient_id / lesion_id); spell the ids alike in both. A spreadsheet "
                "removes leading zeros unless the column is formatted as text."
            )


def _bare(lesion: tuple) -> tuple[str, ...]:
    """The ids as a spreadsheet or a typist could change them: 007 and 7.0 are 7."""
    keys = (patient_ids.key(name) for name in lesion)
    return tuple(
        key.removesuffix(".0").lstrip("0") or "0" if key.removesuffix(".0").isdigit() else key
        for key in keys
    )
