"""One split of the patients for two networks, and the check that both of them kept to it.

Patients of whom the manifest has scans without a lesion alone take part: they are split as the
others are (`cohort.unlabelled`). In training they give the segmenter patches without lesion, in the
test they count for false positives and false alarms. Patients whose lesions take no part in the
classifier, since they have no label or were not selected, are not judged. They help to train the
segmenter, unless the split follows a rule (given, by centre, by time) that has them in the test.
"""

import pathlib

import ml_collections
import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.cohort import splits
from dtc_jax.errors import InputError
from dtc_jax.runs import data as data_lib
from dtc_jax.runs import workdir

SPLIT = "split.csv"
_IDS = ("patient_id", "lesion_id")


def share_split(
    config: ml_collections.ConfigDict, rows: pd.DataFrame, people: pd.DataFrame
) -> tuple[pd.DataFrame, set[str]]:
    """On which side each patient of the cohort is; see the head of this file.

    Args:
      config: of the pipeline.
      rows: the classifier's lesions with their split.
      people: of the manifest.

    Returns:
      patient_id and split; and the patients who are judged, of all cohorts.

    Raises:
      InputError: see `splits.refuse_two_sides` and `unlabelled.assign`.
    """
    splits.refuse_two_sides(people, config.split)
    lesions, healthy = data_lib.with_lesions(people)
    healthy = healthy[~healthy.patient_id.isin(lesions.patient_id)]
    judged = pd.concat([rows, data_lib.assign_unlabelled(config, healthy, rows)])
    given = judged
    if config.split.kind != "holdout":
        idle = people[~people.patient_id.isin(judged.patient_id)]
        given = pd.concat([judged, data_lib.assign_unlabelled(config, idle, rows)])
    sides = given.drop_duplicates("patient_id").set_index("patient_id").split
    own = people.patient_id[people.cohort == config.split.cohort].drop_duplicates()
    shared = pd.DataFrame({"patient_id": own, "split": own.map(sides).fillna("train")})
    return shared.sort_values("patient_id"), set(judged.patient_id[judged.split == "test"])


def isolated(folder: pathlib.Path, judged: set[str]) -> dict[str, str]:
    """Holds the splits that both trainings stored against the patients of the test.

    Args:
      folder: of the run.
      judged: all patients of whom a scan is judged, those without a lesion among them.

    Returns:
      The fingerprint of the patients' split, and of each network's split of its lesions or patches.

    Raises:
      InputError: a network was trained or chosen on a patient of the test.
    """
    shared = csv_reader.read_table(folder / SPLIT, _IDS)
    rows = shared.assign(lesion_id=shared.patient_id, fold=0)
    hashes = {"patients": splits.fingerprint(rows)}
    for name, table in (("segmenter", workdir.CASES), ("classifier", workdir.PREDICTIONS)):
        stored = csv_reader.read_table(folder / name / table, _IDS)
        seen = set(stored.patient_id[stored.split != "test"]) & judged
        if seen:
            raise InputError(
                f"{folder / name}: trained or chosen on {len(seen)} patients of the test, such as "
                f"{min(seen)}. Name a new --workdir."
            )
        hashes[name] = str(storage.read_json(folder / name / workdir.DATA)["split"])
    return hashes
