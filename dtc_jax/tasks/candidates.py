"""A second look at what a segmenter has found: SE-Net tells nodules from false candidates.

Its examples are the findings of `--mode=evaluate --scans` of the segmenter's run: each was found by
a network that had not seen the scan's patient, and is right or wrong by the reference masks. Where
that run is a cross-validation, its folds are those here, so that neither network has seen whom both
are tested on.
"""

import dataclasses
import hashlib
import pathlib
from typing import Any

import ml_collections
import numpy as np
import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.cohort import manifest, persons
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.crops import fingerprint
from dtc_jax.errors import InputError, UsageError
from dtc_jax.statistics import detection, tables
from dtc_jax.statistics.formatting import estimate, number
from dtc_jax.tasks import classification, lesion_figures, patch_figures, sources
from dtc_jax.tasks.definition import Evaluation, Words
from dtc_jax.tasks.sources import Data
from dtc_jax.tasks.summary import Figures, summary
from dtc_jax.tasks.trained import TrainedNetwork
from dtc_jax.training.batches import Records

FOUND = "scans"  # of a segmenter's run: what --mode=evaluate --scans writes
_CLASSES = ("false candidate (0)", "nodule (1)")
_COLUMNS = (
    *("run", "cohort", "split", "fold", "patient_id", "scan_id", "lesion_id", "view"),
    *("diameter_mm", "label", "segmenter_score", "score"),
    *("threshold", "threshold_source", "decision"),
)


def load(config: ml_collections.ConfigDict) -> Data:
    """The findings of `config.data.segmenter` in the scans of `config.data.manifest`.

    Returns:
      Its table has one row a finding: `label` is 1 for a lesion; scan_id; view; segmenter_score.

    Raises:
      InputError: the run's scans were not evaluated, or are not those of the manifest.
    """
    folder = pathlib.Path(config.data.segmenter) / FOUND
    path = storage.existing_file(config.data.manifest, "config.data.manifest")
    found = _read(folder, "candidates.csv").merge(
        _read(folder, "scans.csv")[["scan_id", "view", "image_sha256"]], on="scan_id"
    )
    if found.empty:
        raise InputError(f"{folder}: the segmenter has found nothing, so nothing can be learned.")
    images = _images(path, sources.file_hashes(config))
    unknown = sorted(set(found.scan_id[~found.image_sha256.isin(images)]))
    if unknown:
        raise InputError(
            f"{path}: has no image with the contents of {unknown[0]} of {folder}; give the "
            "manifest that --mode=evaluate --scans was called with."
        )
    known = pd.DataFrame([images[mark] for mark in found.image_sha256], index=found.index)
    table = found.assign(
        lesion_id=found.scan_id + "-" + found.lesion_id.astype(str),
        mask_label=found.lesion_id,
        mask=[str((folder / "masks" / f"{scan}.nii.gz").resolve()) for scan in found.scan_id],
        label=1 - found.is_false.astype(int),
        segmenter_score=found.max_probability,
        image=known.image,
        cohort=known.cohort,
        **{persons.COLUMN: known[persons.COLUMN]},
    )
    columns = ["patient_id", "lesion_id", "image", "mask", "mask_label", "label", "cohort"]
    listed = table[columns]
    text = listed.to_csv(index=False)
    name = f"candidates-{hashlib.sha256(text.encode()).hexdigest()[:12]}.csv"
    storage.write_table(pathlib.Path(config.data.folder) / name, listed)
    home, size_mm = pathlib.Path(config.data.folder), tuple(config.data.size_mm)
    parameters = {"manifest": str(home / name), "size_mm": size_mm, "absolute": True}
    built, stored = sources.build("lesion_crops", parameters, home)
    table = table.drop(
        columns=["score", "is_false", *(c for c in stored if c in table and c != "lesion_id")]
    )
    joined = table.merge(stored, on="lesion_id", validate="one_to_one")
    return Data(joined, Records(built, cache=config.data.cache), [], [])


def _read(folder: pathlib.Path, name: str) -> pd.DataFrame:
    path = folder / name
    if not path.is_file():
        raise InputError(
            f"config.data.segmenter: {path} is missing; run --mode=evaluate "
            f"--workdir={folder.parent} --scans=CSV first."
        )
    return csv_reader.read_table(path, ("patient_id", "scan_id"))


def _images(path: pathlib.Path, cache: pathlib.Path) -> dict[str, pd.Series]:
    """The first row of each image of a manifest by the hash of the image's contents."""
    rows = manifest.read_manifest(path, healthy=True).drop_duplicates("image")
    hashes = fingerprint.file_hashes(rows.image, cache)
    return {hashes[row.image]: row for _, row in rows.iterrows()}


def split(config: ml_collections.ConfigDict, table: pd.DataFrame) -> pd.DataFrame:
    """`table` with fold and split: those of the segmenter's run where that is a cross-validation.

    Raises:
      InputError: see `Rule.assign`; or a side of a fold cannot be learned from or chosen on.
      UsageError: the folds are not those of the segmenter's run, or patients are divided.
    """
    rule = make_rule(config.split)
    if rule.unit != "patient":
        raise UsageError("config.split.unit must be 'patient': findings of a scan are alike.")
    cases = _cases(config)
    folds = int(cases.fold.nunique())
    if folds == 1 and not rule.is_cross_validation:
        return rule.assign(table, _CLASSES)
    if rule.folds != folds:
        raise UsageError(
            f"config.split.folds is {rule.folds}, but the run of config.data.segmenter has "
            f"{folds if folds > 1 else 'none'}; give the same number."
        )
    sides = _sides(cases, table)
    unknown = sorted(set(table.patient_id) - set(sides.patient_id))
    if unknown:
        print(
            f"{len(unknown)} patients are in no fold of the segmenter's run, such as {unknown[0]}; "
            "their findings are left out.",
            flush=True,
        )
    rows = table.drop(columns="split", errors="ignore").merge(sides, on="patient_id")
    for fold, part in rows.groupby("fold"):
        if (
            part.label[part.split == "train"].nunique() < 2
            or not (part.split == "validation").any()
        ):
            raise InputError(
                f"split: fold {fold} needs nodules and false candidates to train on, and any to "
                "validate on; evaluate the segmenter on more scans."
            )
    return rows.sort_values(["fold", "position"], ignore_index=True)


def _cases(config: ml_collections.ConfigDict) -> pd.DataFrame:
    """What the segmenter's networks were given: patient_id, fold and split."""
    path = pathlib.Path(config.data.segmenter) / patch_figures.CASES
    found = storage.existing_file(str(path), "config.data.segmenter")
    return csv_reader.read_table(found, ("patient_id", "lesion_id"))


def _sides(cases: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The fold and split of each patient of `table`, who may have another id in `cases`."""
    names = {
        name: patient for patient, rows in table.groupby("patient_id") for name in persons.ids(rows)
    }
    own = [persons.ids(rows) for _, rows in cases.groupby("patient_id")]
    known = {
        patient: next((names[name] for name in ids if name in names), None)
        for (patient, _), ids in zip(cases.groupby("patient_id"), own, strict=True)
    }
    sides = cases.assign(patient_id=cases.patient_id.map(known)).dropna(subset="patient_id")
    return sides[["patient_id", "fold", "split"]].drop_duplicates()


def evaluate(
    config: ml_collections.ConfigDict,
    data: Data,
    network: TrainedNetwork,
    rows: pd.DataFrame,
    run: str,
) -> Evaluation:
    """The figures beside those of the segmenter's own certainty, at a threshold from validation.

    Args:
      config: see configs/candidates.py.
      data: the findings.
      network: with a member a fold.
      rows: all findings with fold, split and score.
      run: its name, for the table.
    """
    scans = _read(pathlib.Path(config.data.segmenter) / FOUND, "scans.csv")
    whole = scans[scans["view"] == "scan"]
    sides = rows[["patient_id", "fold", "split", "cohort"]].drop_duplicates()
    if make_rule(config.split).is_cross_validation:  # also of scans in which nothing was found
        ids = rows[["patient_id", persons.COLUMN]].drop_duplicates("patient_id")
        found = _sides(_cases(config), scans.merge(ids, on="patient_id", how="left"))
        sides = found.merge(rows[["patient_id", "cohort"]].drop_duplicates(), how="left").fillna(
            {"cohort": rows.cohort.iloc[0]}
        )
    counted = sides.merge(whole[["patient_id", "scan_id"]], on="patient_id")
    by_score = {"network": rows, "segmenter": rows.assign(score=rows.segmenter_score)}
    decided = {name: _decide(part, counted, config.threshold) for name, part in by_score.items()}
    columns = persons.with_others(_COLUMNS, rows)
    table = decided["network"].assign(run=run).reindex(columns=columns)
    figures = {
        "network": _figures(decided["network"], counted),
        "baselines": {"segmenter": _figures(decided["segmenter"], counted)},
        "split": make_rule(config.split).describe(rows),
        "candidates": network.candidates,
        "notes": data.notes,
    }
    text = summary(figures, network.task.words.network, _head, _line)
    return Evaluation(figures, {lesion_figures.PREDICTIONS: table}, text, curves=("loss",))


def _decide(rows: pd.DataFrame, counted: pd.DataFrame, rule: str) -> pd.DataFrame:
    """`rows` with threshold, threshold_source and decision.

    The threshold of a fold allows the wanted number of false candidates a scan in the whole scans
    that are validation in any fold, but for those of patients whom the fold tests: a single fold
    seldom has a whole scan to validate on.

    Args:
      rows: findings with fold, split, label and score.
      counted: patient_id, fold, split and scan_id of the whole scans.
      rule: of `parse`.
    """
    per_scan, table = parse(rule), rows.assign(threshold=np.nan, threshold_source="")
    validated = rows[(rows.split == "validation") & rows.scan_id.isin(counted.scan_id)]
    validation = counted[counted.split == "validation"]
    for _, part in rows.groupby("fold"):
        tested = set(part.patient_id[part.split == "test"])
        own = validated[~validated.patient_id.isin(tested)]
        count = int((~validation.patient_id.isin(tested)).sum())
        value, source = 0.5, "0.5 by default: no whole scan is validation"
        if count:
            false = own.score[own.label == 0].to_numpy(float)
            value = detection.threshold_for(false, own.score.to_numpy(float), per_scan * count)
            source = f"{rule} on {count} validated scans"
        table.loc[part.index, ["threshold", "threshold_source"]] = [value, source]
    return table.assign(decision=(table.score >= table.threshold).astype(float))


def parse(rule: str) -> float:
    """How many false candidates a scan the rule 'false_positives:N' allows.

    Raises:
      UsageError: it is no such rule.
    """
    name, _, value = str(rule).partition(":")
    if name != "false_positives" or not value.replace(".", "", 1).isdigit() or float(value) <= 0:
        raise UsageError(
            f"config.threshold is {rule!r}; give 'false_positives:N', N of them a scan, such as "
            "'false_positives:4'."
        )
    return float(value)


def _figures(table: pd.DataFrame, counted: pd.DataFrame) -> dict[str, Any]:
    """`tables.metrics`, and the false candidates a whole scan before and after the threshold."""
    figures = tables.metrics(table)
    for cohort, by_split in figures.items():
        for name, values in by_split.items():
            part = table[(table.cohort == cohort) & (table.split == name)]
            false = part[(part.label == 0) & part.scan_id.isin(counted.scan_id)]
            count = int(((counted.cohort == cohort) & (counted.split == name)).sum())
            values["scans"] = count
            values["false_candidates_per_scan"] = len(false) / count if count else None
            values["false_positives_per_scan"] = (
                float(false.decision.sum()) / count if count else None
            )
    return figures


def _head(test: Figures) -> str:
    before = number(test["false_candidates_per_scan"])
    return (
        f"{test['positives']} nodules and {test['lesions'] - test['positives']} false candidates "
        f"of {test['patients']} patients, {before} false ones a whole scan (n {test['scans']})"
    )


def _line(row: Figures) -> str:
    after = number(row["false_positives_per_scan"])
    return (
        f"AUC {estimate(row['auc'])}  keeps {estimate(row['sensitivity'])} of the nodules  {after} "
        "false ones a whole scan"
    )


def check(config: ml_collections.ConfigDict) -> None:
    """Raises UsageError if config.threshold has an impossible value."""
    parse(config.threshold)


DEFINITION = dataclasses.replace(
    classification.DEFINITION,
    words=Words("a second look at candidates", "--candidates", "SE-Net", "configs/candidates.py"),
    check=check,
    load=load,
    split=split,
    evaluate=evaluate,
    select=lambda config, lesions: lesions,
)
