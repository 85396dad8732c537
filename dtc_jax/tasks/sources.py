"""Where a task's examples come from: the manifest, the phantom cohort, and the built datasets."""

import dataclasses
import pathlib
import sys
from typing import Any

import ml_collections
import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.cohort import phantom, selection
from dtc_jax.errors import InputError
from dtc_jax.training.batches import Records


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run learns from and is evaluated on.

    Attributes:
      table: one row an example: patient_id, lesion_id, label, cohort, the measures of its record,
        and `position`, its number among the records.
      records: random access to the stored crops or patches.
      flow: the flowchart's counts, from the manifest to `table`; empty where nothing is selected.
      notes: what a reader of the figures has to know about the data.
      unlabelled: lesions that only lack a label to be in `table`, with the same columns; see
        `tasks.unlabelled`. Empty where the task has no use for them.
    """

    table: pd.DataFrame
    records: Records
    flow: list[selection.Step]
    notes: list[str]
    unlabelled: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)

    @property
    def fingerprint(self) -> str:
        """Of the stored records: their contents, ids and build parameters."""
        return str(_build_record(self.records.folder)["fingerprint"])


def _build_record(folder: pathlib.Path) -> dict[str, Any]:
    """What the build of a dataset said of it."""
    return dict(storage.read_json(folder / "fingerprint.json"))


def about_lesions(config: ml_collections.ConfigDict) -> list[str]:
    """What the lesions and classes are, as `config.data.about` says: the first of the notes."""
    text = config.data.get("about", "")  # older runs have no such field
    return [text] if text else []


def build_notes(folder: pathlib.Path) -> list[str]:
    """What a reader has to know of the HU in a built dataset; also printed to stderr."""
    notes = list(_build_record(folder).get("notes", []))  # an older build has none
    for note in notes:
        print(f"{folder}: {note}.", file=sys.stderr, flush=True)
    return notes


def split_by_lesion(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of a manifest that are an outlined lesion, and those that are none."""
    is_lesion = table.lesion_id.notna()
    if "box_mm" in table:
        is_lesion &= table.box_mm.isna()
    return table[is_lesion].reset_index(drop=True), table[~is_lesion].reset_index(drop=True)


def manifest_path(config: ml_collections.ConfigDict) -> pathlib.Path:
    """The manifest that `config.data` names; a phantom cohort is generated.

    Raises:
      InputError: there is no such file, or the phantom's folder contains something else.
    """
    if config.data.source != "phantom":
        return storage.existing_file(config.data.manifest, "config.data.manifest")
    return phantom.generate_in(config.data.folder, phantom_spec(config))


def phantom_spec(config: ml_collections.ConfigDict) -> phantom.PhantomSpec:
    """The phantom cohort of `config.data.phantom`."""
    return phantom.PhantomSpec(**config.data.phantom.to_dict())


def build(
    name: str, parameters: dict[str, Any], folder: pathlib.Path
) -> tuple[pathlib.Path, pd.DataFrame]:
    """The folder of a built dataset, and its lesions.csv with the records' `position`.

    Args:
      name: of a builder in datasets/.
      parameters: of the builder.
      folder: `config.data.folder`.
    """
    try:
        from datasets import build  # in a clone it stands beside the package
    except ImportError as error:
        raise InputError(
            "the dataset builders were not found; run launch.py from the root of the repository."
        ) from error
    built = build.build(name, parameters, data_dir=folder)
    stored = csv_reader.read_table(built / "lesions.csv", ("lesion_id", "patient_id"))
    return built, stored.assign(position=range(len(stored)))


def file_hashes(config: ml_collections.ConfigDict) -> pathlib.Path:
    """Where the dataset builders remember the hashes of scans and masks."""
    return pathlib.Path(config.data.folder) / "file_hashes.json"
