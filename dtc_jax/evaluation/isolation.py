"""One split of the patients for two networks, and the check that both of them kept to it.

Patients who only have scans without a lesion take part: they are split as the others are. In
training they give the segmenter patches without lesion, in the test they count for false positives
and false alarms. Patients whose lesions the classifier does not use, since they have no label or
were not selected, are not tested. They help to train the segmenter, unless the split follows a rule
(given, by centre, by time) that puts them in the test.
"""

import pathlib

import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.cohort import persons, splits
from dtc_jax.cohort.split_rule import Rule
from dtc_jax.errors import InputError
from dtc_jax.experiment import initial, workdir
from dtc_jax.tasks import registry, sources

SPLIT = "split.csv"
TASKS = {"segmenter": "segmentation", "classifier": "classification"}  # folder -> task
_IDS = ("patient_id", "lesion_id")


def share_split(
    rule: Rule, rows: pd.DataFrame, manifest: pd.DataFrame
) -> tuple[pd.DataFrame, set[str]]:
    """On which side each patient of the cohort is; see the head of this file.

    Args:
      rule: of the pipeline.
      rows: the classifier's lesions with their split.
      manifest: all of its rows.

    Returns:
      patient_id and split; and the patients who are tested, of all cohorts.

    Raises:
      InputError: see `Rule.refuse_two_sides` and `splits.assign_unlabelled`.
    """
    rule.refuse_two_sides(manifest)
    lesions, healthy = sources.split_by_lesion(manifest)
    healthy = healthy[~healthy.patient_id.isin(lesions.patient_id)]
    tested = pd.concat([rows, rule.assign_unlabelled(healthy, rows)])
    assigned = tested
    if rule.kind != "holdout":
        idle = manifest[~manifest.patient_id.isin(tested.patient_id)]
        assigned = pd.concat([tested, rule.assign_unlabelled(idle, rows)])
    sides = assigned.drop_duplicates("patient_id").set_index("patient_id").split
    in_cohort = rule.of_cohort(manifest).patient_id.drop_duplicates()
    shared = pd.DataFrame({"patient_id": in_cohort, "split": in_cohort.map(sides).fillna("train")})
    return shared.sort_values("patient_id"), persons.ids(tested[tested.split == "test"])


def isolated(folder: pathlib.Path, tested: set[str]) -> dict[str, str]:
    """Compares the splits that both trainings stored with the patients of the test.

    Args:
      folder: of the run.
      tested: all patients one of whose scans is evaluated, those without a lesion among them.

    Returns:
      The fingerprint of the patients' split, and of each network's split of its lesions or patches.

    Raises:
      InputError: a network was trained or chosen on a patient of the test.
    """
    shared = csv_reader.read_table(folder / SPLIT, _IDS)
    rows = shared.assign(lesion_id=shared.patient_id, fold=0)
    hashes = {"patients": splits.fingerprint(rows)}
    for name in TASKS:
        refuse_seen(folder / name, tested)
        hashes[name] = str(storage.read_json(folder / name / workdir.DATA)["split"])
    return hashes


def refuse_seen(folder: pathlib.Path, tested: set[str]) -> None:
    """Refuses a run that was trained or chosen on a patient of the test.

    Args:
      folder: of the run.
      tested: ids of all patients one of whose scans is evaluated.

    Raises:
      InputError: it was, or nothing records its patients.
    """
    config = workdir.read_config(folder)
    path = folder / registry.of(config).table
    if not path.is_file():
        raise InputError(f"{path}: no such file, and nothing else records whom the run has seen.")
    stored = csv_reader.read_table(path, _IDS)
    before = initial.seen_besides(folder, config)
    seen = persons.in_common(tested, persons.ids(stored[stored.split != "test"]) | before)
    if seen:
        raise InputError(
            f"{folder}: trained or chosen on {len(seen)} patients of the test, such as "
            f"{min(seen)}. Choose another run, or another --workdir."
        )
