"""From a configuration to a table of lesions, their stored crops and their splits."""

import dataclasses
import os
import pathlib
from typing import Any

import ml_collections
import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.cohort import manifest, phantom, selection, splits, unlabelled
from dtc_jax.errors import InputError, UsageError, unknown_choice
from dtc_jax.training.batches import Records


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run works on.

    Attributes:
      table: one row a labelled lesion of the study: the manifest's columns, the measures of its
        stored crop, and `position`, its number among the records.
      records: random access to the stored crops.
      flow: the flowchart's counts, from the manifest to `table`.
      notes: what a reader of the figures has to know about the data.
    """

    table: pd.DataFrame
    records: Records
    flow: list[selection.Step]
    notes: list[str]

    @property
    def fingerprint(self) -> str:
        """Of the stored crops: their contents, ids and build parameters."""
        return str(storage.read_json(self.records.folder / "fingerprint.json")["fingerprint"])


def load(config: ml_collections.ConfigDict) -> Data:
    """Generates (phantom), reads, selects and builds what `config` names; does nothing twice.

    Raises:
      InputError: see the manifest, the scans and the dataset builders.
      UsageError: config.data.source is unknown.
    """
    folder = pathlib.Path(config.data.folder)
    if config.data.source == "medmnist3d":
        npz = existing(config.data.npz, "config.data.npz")
        built, stored = build("medmnist3d", {"npz": npz}, folder)
        table, flow, notes = stored.assign(cohort="primary"), [], []
    elif config.data.source in ("phantom", "manifest"):
        path = manifest_path(config)
        notes = [_attainable(config)] if config.data.source == "phantom" else []
        everyone, healthy = with_lesions(manifest.read_manifest(path, healthy=True))
        if everyone.empty:
            raise InputError(f"{path}: has scans without a lesion alone; add rows of lesions.")
        if len(healthy):
            notes.append(f"scans without a lesion, of no use to a classifier: {len(healthy)}")
        size_mm = tuple(config.data.size_mm)
        built, stored = build("lesion_crops", {"manifest": str(path), "size_mm": size_mm}, folder)
        chosen = selection.select(everyone, config.selection)
        table, flow = chosen.table, chosen.flow
    else:
        raise unknown_choice(
            "config.data.source", config.data.source, ("phantom", "manifest", "medmnist3d")
        )
    return Data(_join(table, stored), Records(built, cache=config.data.cache), flow, notes)


def with_lesions(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of a manifest that are a lesion, and those that are a scan without one."""
    is_lesion = table.lesion_id.notna()
    return table[is_lesion].reset_index(drop=True), table[~is_lesion].reset_index(drop=True)


def assign(
    config: ml_collections.ConfigDict,
    table: pd.DataFrame,
    classes: tuple[str, str] = splits.CLASSES,
    each_side_needs_both: bool = True,
) -> pd.DataFrame:
    """`table` with fold and split; k-fold gives every lesion once a fold.

    Where config.split.kind is 'file', the CSV config.split.file says on which side a patient is, so
    that several runs share one split.

    Lesions outside config.split.cohort are test lesions of a hold-out run; in a k-fold run, where
    no single network stands for the run, they are left out.
    """
    split = config.split.copy_and_resolve_references()
    if split.folds > 0:
        split.kind = "kfold"
    elif split.kind == "file":
        table, split.kind = _from_file(table, split), "column"
    own = table[table.cohort == split.cohort]
    if own.empty:
        names = ", ".join(sorted(table.cohort.unique()))
        raise UsageError(f"config.split.cohort is {split.cohort!r}; the cohorts are: {names}.")
    given = splits.assign(own, split, classes, each_side_needs_both)
    if split.folds == 0:
        others = table.loc[table.cohort != split.cohort, ["lesion_id"]]
        given = pd.concat([given, others.assign(fold=0, split="test")], ignore_index=True)
    return given.merge(table.drop(columns="split", errors="ignore"), on="lesion_id", how="left")


def assign_unlabelled(
    config: ml_collections.ConfigDict, table: pd.DataFrame, rows: pd.DataFrame
) -> pd.DataFrame:
    """On which side patients without a labelled lesion are, see `unlabelled.assign`.

    Args:
      config: of a hold-out run.
      table: rows of the manifest, of patients none of whom is in `rows`.
      rows: of `assign`.

    Returns:
      patient_id and split; patients outside config.split.cohort are test, as all others are.
    """
    split = config.split.copy_and_resolve_references()
    if split.kind == "file":
        table, split.kind = _from_file(table, split), "column"
    is_own = table.cohort == split.cohort
    own = rows[rows.cohort == split.cohort]
    given = unlabelled.assign(table[is_own], own, split)
    others = table.loc[~is_own, ["patient_id"]].drop_duplicates().assign(split="test")
    return pd.concat([given, others], ignore_index=True)


def _from_file(table: pd.DataFrame, split: ml_collections.ConfigDict) -> pd.DataFrame:
    """`table` with the split of each patient of the cohort, as config.split.file has it."""
    path = existing(split.file, "config.split.file")
    sides = csv_reader.read(path, "the table of splits")
    if not {"patient_id", "split"} <= {*sides}:
        raise InputError(f"{path}: needs the columns patient_id and split.")
    if sides.patient_id.duplicated().any():
        raise InputError(f"{path}: a patient has several rows; give each patient one.")
    own = table.patient_id[table.cohort == split.cohort]
    absent = sorted(set(own) - set(sides.patient_id))
    if absent:
        raise InputError(
            f"{path}: has no row for {len(absent)} patients of the cohort {split.cohort!r}, such "
            f"as {absent[0]}; add them."
        )
    return table.assign(split=table.patient_id.map(sides.set_index("patient_id").split))


def manifest_path(config: ml_collections.ConfigDict) -> pathlib.Path:
    """The manifest that `config.data` names; a phantom cohort is generated.

    Raises:
      InputError: there is no such file, or the phantom's folder holds something else.
    """
    if config.data.source != "phantom":
        return existing(config.data.manifest, "config.data.manifest")
    return phantom.generate_in(config.data.folder, _phantom_spec(config))


def _phantom_spec(config: ml_collections.ConfigDict) -> phantom.PhantomSpec:
    return phantom.PhantomSpec(**config.data.phantom.to_dict())


def _attainable(config: ml_collections.ConfigDict) -> str:
    return f"phantom cohort: attainable AUC {phantom.attainable_auc(_phantom_spec(config)):.3f}"


def build(
    name: str, config: dict[str, Any], folder: pathlib.Path
) -> tuple[pathlib.Path, pd.DataFrame]:
    """The folder of a built dataset, and its lesions.csv with the records' `position`."""
    try:
        from datasets import build  # not installed with the package: see the README
    except ImportError as error:
        raise InputError(
            "the dataset builders were not found; run launch.py from the root of the repository."
        ) from error
    built = build.build(name, config, data_dir=folder)
    stored = csv_reader.read_table(built / "lesions.csv", ("lesion_id", "patient_id"))
    return built, stored.assign(position=range(len(stored)))


def hashes(config: ml_collections.ConfigDict) -> pathlib.Path:
    """Where the dataset builders remember the hashes of scans and masks."""
    return pathlib.Path(config.data.folder) / "file_hashes.json"


def existing(path: str, field: str) -> pathlib.Path:
    """`path` if it is a file; `field` is where it was given."""
    if not path:
        raise UsageError(f"{field} is empty; give the file's path.")
    if "$DTC_JAX_DATA" in path and "DTC_JAX_DATA" not in os.environ:
        raise UsageError(
            f"{field} is {path}, but the environment variable DTC_JAX_DATA is not set; set it to "
            f"the folder of the data, or give --{field}=PATH."
        )
    if not pathlib.Path(path).is_file():
        raise InputError(f"{path}: no such file (named by {field}).")
    return pathlib.Path(path)


def _join(table: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Adds the stored measures and the record's position; the mask's diameter replaces none.

    A diameter given in the manifest stays apart, as `diameter_given_mm`.
    """
    table = table.rename(columns={"diameter_mm": "diameter_given_mm"})
    new = [c for c in stored.columns if c == "lesion_id" or c not in table.columns]
    joined = table.merge(stored[new], on="lesion_id", how="left", validate="one_to_one")
    if joined.position.isna().any():
        missing = joined.lesion_id[joined.position.isna()].iloc[0]
        raise InputError(f"lesion {missing} is not among the built crops; delete the built folder.")
    return joined.astype({"position": int})
