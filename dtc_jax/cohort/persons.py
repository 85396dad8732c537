"""Several ids of one person: whoever is in two public collections, or came twice to a hospital.

A manifest names them in its column `same_patient`. All rows of a person get one patient_id, the
first in the file, so that no split divides the person and no interval counts them twice.
"""

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import pandas as pd

from dtc_jax import patient_ids
from dtc_jax.csv_reader import Problem

COLUMN = "same_patient"


def unify(cells: pd.DataFrame) -> pd.DataFrame:
    """`cells` with one patient_id a person, and in `same_patient` all other ids of the person.

    Args:
      cells: of a manifest, as text; the table itself if it has no such column.
    """
    if not {"patient_id", COLUMN} <= {*cells}:
        return cells
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            name = parent[name]
        return name

    for patient, others in zip(cells.patient_id, cells[COLUMN], strict=True):
        for other in [patient, *others.split()] if patient else ():
            parent[root(other)] = root(patient)
    first: dict[str, str] = {}
    for patient in filter(None, cells.patient_id):
        first.setdefault(root(patient), patient)
    ids: dict[str, list[str]] = {}
    for name in sorted(parent):
        ids.setdefault(first[root(name)], []).append(name)
    own = cells.patient_id.map(lambda name: first[root(name)] if name else "")
    others = own.map(lambda name: " ".join(other for other in ids.get(name, ()) if other != name))
    return cells.assign(patient_id=own, **{COLUMN: others})


def ids(rows: pd.DataFrame) -> set[str]:
    """All ids of the persons of `rows`: patient_id and, where there is one, same_patient."""
    others: Iterable[str] = rows[COLUMN].dropna() if COLUMN in rows else ()
    return {*rows.patient_id.dropna(), *(name for cell in others for name in str(cell).split())}


def in_common(patients: Collection[str], others: Collection[str]) -> set[str]:
    """Those of `patients` who are among `others`, even if spelled differently there."""
    keys = {patient_ids.key(name) for name in others}
    return {name for name in patients if patient_ids.key(name) in keys}


def are_among(rows: pd.DataFrame, others: Collection[str]) -> np.ndarray:
    """Which rows are of a person one of whose ids is among `others`. # [N] bool

    Args:
      rows: patient_id and, where there is one, same_patient.
      others: ids, which may be spelled differently.
    """
    known = in_common(ids(rows), others)
    further = rows[COLUMN] if COLUMN in rows else pd.Series(np.nan, rows.index)
    return np.array(
        [
            not known.isdisjoint([patient, *(cell.split() if isinstance(cell, str) else ())])
            for patient, cell in zip(rows.patient_id, further, strict=True)
        ],
        bool,
    )


def problems(cells: pd.DataFrame) -> Iterator[Problem]:
    """What `patient_ids.problems` finds in the ids of a manifest, after `unify`."""
    parts = [(cells.patient_id, cells.patient_id)]
    if COLUMN in cells:
        names = cells[COLUMN].str.split().explode().dropna()
        parts.append((names, cells.patient_id.loc[names.index]))
    ids = pd.concat([name for name, _ in parts]).rename("patient_id")
    yield from patient_ids.problems(ids, pd.concat([person for _, person in parts]))


def with_others(columns: Iterable[str], rows: pd.DataFrame) -> list[str]:
    """`columns`, and `same_patient` where a person of `rows` has further ids."""
    return [*columns, *([COLUMN] if COLUMN in rows and rows[COLUMN].notna().any() else [])]
