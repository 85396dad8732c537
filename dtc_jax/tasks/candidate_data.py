"""What a second look learns from: the findings of a segmenter in scans whose lesions are known."""

import hashlib
import pathlib

import ml_collections
import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.cohort import manifest, persons
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.crops import fingerprint
from dtc_jax.errors import InputError, UsageError
from dtc_jax.tasks import patch_figures, sources
from dtc_jax.tasks.sources import Data
from dtc_jax.training.batches import Records

FOUND = "scans"  # of a segmenter's run: what --mode=evaluate --scans writes
_CLASSES = ("false candidate (0)", "nodule (1)")


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
        raise InputError(f"{folder}: the segmenter found no candidates, so none can be learned.")
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
    listed = table[["patient_id", "lesion_id", "image", "mask", "mask_label", "label", "cohort"]]
    mark = hashlib.sha256(listed.to_csv(index=False).encode()).hexdigest()[:12]
    home = pathlib.Path(config.data.folder)
    own = home / f"candidates-{mark}.csv"
    storage.write_table(own, listed)
    size_mm = tuple(config.data.size_mm)
    parameters = {"manifest": str(own), "size_mm": size_mm, "absolute": True}
    built, stored = sources.build("lesion_crops", parameters, home)
    table = table.drop(
        columns=["score", "is_false", *(c for c in stored if c in table and c != "lesion_id")]
    )
    joined = table.merge(stored, on="lesion_id", validate="one_to_one")
    return Data(joined, Records(built, cache=config.data.cache), [], sources.about_lesions(config))


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
    if not rule.has_validation:
        raise UsageError(
            "config.split.kind is 'two_part', but the threshold of a second look is chosen on "
            "validation scans; use 'holdout'."
        )
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
                f"split: fold {fold} needs nodules and false candidates to train on, and at least "
                "one candidate to validate on; evaluate the segmenter on more scans."
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


def whole_scans(config: ml_collections.ConfigDict, rows: pd.DataFrame) -> pd.DataFrame:
    """The whole scans that false candidates are counted in, a row for each fold that has one.

    Those in which nothing was found are among them where the folds are the segmenter's.

    Args:
      config: see configs/candidates.py.
      rows: of `split`.

    Returns:
      patient_id, fold, split, cohort and scan_id.
    """
    scans = _read(pathlib.Path(config.data.segmenter) / FOUND, "scans.csv")
    sides = rows[["patient_id", "fold", "split", "cohort"]].drop_duplicates()
    if make_rule(config.split).is_cross_validation:
        ids = rows[["patient_id", persons.COLUMN]].drop_duplicates("patient_id")
        found = _sides(_cases(config), scans.merge(ids, on="patient_id", how="left"))
        sides = found.merge(rows[["patient_id", "cohort"]].drop_duplicates(), how="left").fillna(
            {"cohort": rows.cohort.iloc[0]}
        )
    whole = scans[scans["view"] == "scan"]
    return sides.merge(whole[["patient_id", "scan_id"]], on="patient_id")
