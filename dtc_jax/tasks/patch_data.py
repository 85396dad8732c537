"""The segmenter's patches: what they are cut from, who trains and who is tested."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
import pandas as pd

from dtc_jax.cohort import manifest, persons
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.crops.patches import PatchParams
from dtc_jax.errors import InputError, UsageError, unknown_choice
from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.tasks import inputs, sources
from dtc_jax.tasks.sources import Data
from dtc_jax.training.batches import Records

_SOURCES = ("phantom", "manifest", "cubes")
_SIZES = ("small: less lesion than most patients have (0)", "large (1)")


def make_preprocess(config: ml_collections.ConfigDict) -> Preprocess:
    """The preprocessing of `config.preprocess`, of windows of the network's own grid.

    Raises:
      InputError: the run is from before patches were such windows.
    """
    if "antialias" not in config.preprocess:
        raise InputError(
            "this segmenter was trained by an earlier version, on patches that were resampled "
            "differently from whole scans; train it again."
        )
    return dataclasses.replace(inputs.make_preprocess(config), grid="scan")


def load(config: ml_collections.ConfigDict) -> Data:
    """Generates (phantom), reads and builds the patches that `config` names; does nothing twice.

    Every lesion with a mask is used, whatever is known of its label, and so are scans without a
    lesion, which give patches from the lungs alone.

    Returns:
      Its table has one row a patch: `label` is 1 where it shows lesion, and `stratum` whether its
      patient has more lesion than the median patient with lesions, by which splits are stratified.

    Raises:
      InputError: see the manifest, the scans and the dataset builders.
      UsageError: an unknown source, patients to be left out who are not in the data, or candidates
        on different grids.
    """
    fields = config.data
    if fields.source not in _SOURCES:
        raise unknown_choice("config.data.source", fields.source, _SOURCES)
    path = sources.manifest_path(config)
    cubes = fields.source == "cubes"
    built, stored = sources.build(
        "ct_patches",
        {"manifest": str(path), **_parameters(config)},
        pathlib.Path(fields.folder),
    )
    rows = manifest.read_manifest(path, "patch_id" if cubes else "lesion_id", healthy=not cubes)
    people = _people(rows, config.split)
    table = stored.merge(people, on="patient_id", how="left", validate="many_to_one")
    kept, notes = _leave_out(table, fields.exclude_patients)
    notes += sources.build_notes(built)
    if not kept.volume_mm3.any():
        raise InputError(f"{path}: no patch shows a lesion; add scans with lesions to learn from.")
    # On the scan's own grid, so that the split does not depend on the network's.
    volumes = kept.groupby("patient_id").lesion_mm3.sum().sort_index()
    volumes = volumes[volumes > 0]
    large = volumes.index[volumes.rank(method="first") > len(volumes) / 2]
    kept = kept.assign(
        label=(kept.volume_mm3 > 0).astype(int), stratum=kept.patient_id.isin(large).astype(int)
    )
    return Data(
        kept, Records(built, cache=fields.cache), [], [*sources.about_lesions(config), *notes]
    )


def make_params(config: ml_collections.ConfigDict) -> PatchParams:
    """How patches are cut out of the scans.

    Raises:
      UsageError: a candidate has another grid, or a field no possible value.
    """
    return PatchParams(**_parameters(config))


def _parameters(config: ml_collections.ConfigDict) -> dict[str, Any]:
    fields, spec = config.data, _grid(config)
    return {
        "size_mm": tuple(fields.size_mm),
        "spacing_mm": spec.spacing_mm,
        "antialias": spec.antialias,
        "about": "cubes" if fields.source == "cubes" else "lesions",
        "lesion_share": fields.lesion_share,
        "vessel_share": fields.vessel_share,
        "border_share": fields.get("border_share", 0.0),
        "other_per_scan": fields.get("other_per_scan", 0),
        "seed": fields.seed,
    }


def _grid(config: ml_collections.ConfigDict) -> Preprocess:
    """The preprocessing of the run, whose grid the patches are stored on.

    Raises:
      UsageError: a candidate has another grid.
    """
    spec = make_preprocess(config)
    for name, changes in config.candidates.items():
        for field in ("spacing_mm", "antialias"):
            value = getattr(spec, field)
            if changes.get("preprocess", {}).get(field, value) != value:
                raise UsageError(
                    f"config.candidates.{name}: patches are stored on one grid, so all candidates "
                    "of a segmenter need the same preprocess.spacing_mm and preprocess.antialias; "
                    "train one run for each grid."
                )
    return spec


def _people(rows: pd.DataFrame, split: Any) -> pd.DataFrame:
    """A row a patient of the manifest, with what decides on the side.

    That is the earliest of the patient's scans; what is empty there is taken from the next one.

    Raises:
      InputError: see `Rule.refuse_two_sides`.
    """
    make_rule(split).refuse_two_sides(rows)
    columns = ["cohort", "center", "split", "scan_order", persons.COLUMN]
    earliest = rows.sort_values(["scan_order", "image"])
    return earliest.groupby("patient_id")[columns].first().reset_index()


def _leave_out(table: pd.DataFrame, patients: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    absent = sorted(set(patients) - set(table.patient_id))
    if absent:
        raise UsageError(
            f"config.data.exclude_patients names {len(absent)} patients who are not in the data; "
            "check the spelling, and give a tuple."
        )
    notes = [f"left out by config.data.exclude_patients: {len(patients)}"] if patients else []
    return table[~table.patient_id.isin(list(patients))].reset_index(drop=True), notes


def split(config: ml_collections.ConfigDict, table: pd.DataFrame) -> pd.DataFrame:
    """`table` with fold and split; see `Rule.assign`.

    A patient's patches stay together. With the unit 'lesion' they do not, as in the study, whose
    932 lesions for training and 343 for validation are of the same patients; since patches of a
    scan overlap, some of a tested lesion may even be in a patch of training.

    Raises:
      InputError: see `splits.assign`; or there is no lesion on one of the sides.
    """
    rule = make_rule(config.split)
    units = table.assign(label=table.stratum)
    if rule.unit == "patient":
        units = units.drop_duplicates("patient_id")
        units = units.assign(lesion_id=units.patient_id)
    sides = rule.assign(units, _SIZES, each_side_needs_both=False)
    rows = sides[[f"{rule.unit}_id", "fold", "split"]].merge(
        table.drop(columns="split"), on=f"{rule.unit}_id"
    )
    for fold, of_fold in rule.of_cohort(rows).groupby("fold"):
        for name in rule.parts:
            if not of_fold.label[of_fold.split == name].any():
                raise InputError(
                    f"split: no patch for {name} (fold {fold}) shows a lesion; add patients, or "
                    "change config.split (seed, folds, fractions, center) or the column `split`."
                )
    return rows.sort_values(["fold", "position"], ignore_index=True)


def weights(config: ml_collections.ConfigDict, training: pd.DataFrame) -> np.ndarray:
    """Every patch counts alike. # [N]

    Raises:
      InputError: no training patch shows a lesion.
    """
    if not (training.label > 0).any():
        raise InputError(
            f"none of the {len(training)} training patches shows a lesion; check the masks, or "
            "raise config.data.lesion_share."
        )
    return np.ones(len(training))
