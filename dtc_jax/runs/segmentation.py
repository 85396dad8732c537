"""A segmentation run: patches and the split of their patients, and Dice beside its baselines."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections
import pandas as pd

from dtc_jax import storage
from dtc_jax.cohort import manifest, splits
from dtc_jax.errors import InputError, UsageError, unknown_choice
from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.runs import data as data_lib
from dtc_jax.runs import dice_baselines, segmentation_figures
from dtc_jax.runs.data import Data
from dtc_jax.runs.figures import Figures, estimate, summary
from dtc_jax.runs.fold import Network, variants
from dtc_jax.runs.workdir import CASES
from dtc_jax.statistics import dice
from dtc_jax.tasks import segmentation as task
from dtc_jax.training.batches import Records

COLUMNS = (
    *("run", "cohort", "split", "fold", "patient_id", "lesion_id", "center", "diameter_mm"),
    *("true_voxels", "found_voxels", "overlap_voxels", "dice", "loss"),
)
_SOURCES = ("phantom", "manifest", "cubes")
_SIZES = ("small: less lesion than most patients have (0)", "large (1)")


def load(config: ml_collections.ConfigDict) -> Data:
    """Generates (phantom), reads and builds the patches that `config` names; does nothing twice.

    Every lesion with a mask is used, whatever is known of its label, and so are scans without a
    lesion, which give patches from the lungs alone.

    Returns:
      Its table has one row a patch: `label` is 1 where it shows lesion, and `stratum` whether its
      patient has more lesion than the median patient with lesions, by which splits are stratified.

    Raises:
      InputError: see the manifest, the scans and the dataset builders.
      UsageError: an unknown source, patients to be left out that are not there, or candidates on
        different grids.
    """
    fields = config.data
    if fields.source not in _SOURCES:
        raise unknown_choice("config.data.source", fields.source, _SOURCES)
    path = data_lib.manifest_path(config)
    cubes = fields.source == "cubes"
    spec = _grid(config)
    built, stored = data_lib.build(
        "ct_patches",
        {
            "manifest": str(path),
            "size_mm": tuple(fields.size_mm),
            "spacing_mm": spec.spacing_mm,
            "antialias": spec.antialias,
            "about": "cubes" if cubes else "lesions",
            "lesion_share": fields.lesion_share,
            "vessel_share": fields.vessel_share,
            "seed": fields.seed,
        },
        pathlib.Path(fields.folder),
    )
    known = manifest.read_manifest(path, "patch_id" if cubes else "lesion_id", healthy=not cubes)
    people = _people(known, config.split)
    table = stored.merge(people, on="patient_id", how="left", validate="many_to_one")
    kept, notes = _leave_out(table, fields.exclude_patients)
    if not kept.volume_mm3.any():
        raise InputError(f"{path}: no patch shows a lesion; add scans with lesions to learn from.")
    volumes = kept.groupby("patient_id").volume_mm3.sum().sort_index()
    volumes = volumes[volumes > 0]
    large = volumes.index[volumes.rank(method="first") > len(volumes) / 2]
    kept = kept.assign(
        label=(kept.volume_mm3 > 0).astype(int), stratum=kept.patient_id.isin(large).astype(int)
    )
    return Data(kept, Records(built, cache=fields.cache), [], notes)


def _grid(config: ml_collections.ConfigDict) -> Preprocess:
    """The preprocessing of the run, whose grid the patches are stored on.

    Raises:
      UsageError: a candidate has another grid.
    """
    spec = task.make_preprocess(config)
    for name, variant in variants(config).items():
        if task.make_preprocess(variant).scan_grid != spec.scan_grid:
            raise UsageError(
                f"config.candidates.{name}: patches are stored on one grid, so all candidates of a "
                "segmenter need the same preprocess.spacing_mm and preprocess.antialias; train one "
                "run for each grid."
            )
    return spec


def _people(known: pd.DataFrame, split: Any) -> pd.DataFrame:
    """A row a patient of the manifest `known`, with what decides on the side.

    That is the earliest of the patient's scans; what it leaves empty, the next one says.

    Raises:
      InputError: see `splits.refuse_two_sides`.
    """
    splits.refuse_two_sides(known, split)
    columns = ["cohort", "center", "split", "scan_order"]
    earliest = known.sort_values(["scan_order", "image"])
    return earliest.groupby("patient_id")[columns].first().reset_index()


def _leave_out(table: pd.DataFrame, patients: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    absent = sorted(set(patients) - set(table.patient_id))
    if absent:
        raise UsageError(
            f"config.data.exclude_patients names {len(absent)} patients that the data have not; "
            "check the spelling, and give a tuple."
        )
    notes = [f"left out by config.data.exclude_patients: {len(patients)}"] if patients else []
    return table[~table.patient_id.isin(list(patients))].reset_index(drop=True), notes


def assign(config: ml_collections.ConfigDict, table: pd.DataFrame) -> pd.DataFrame:
    """`table` with fold and split: a patient's patches stay together; see `data.assign`.

    Raises:
      InputError: see `splits.assign`; or there is no lesion on one of the sides.
    """
    if config.split.unit != "patient":
        raise UsageError("config.split.unit must be 'patient': patches of a scan overlap.")
    patients = table.drop_duplicates("patient_id")
    patients = patients.assign(lesion_id=patients.patient_id, label=patients.stratum)
    given = data_lib.assign(config, patients, _SIZES, each_side_needs_both=False)
    rows = given[["patient_id", "fold", "split"]].merge(
        table.drop(columns="split"), on="patient_id"
    )
    own = rows[rows.cohort == config.split.cohort]
    for fold, of_fold in own.groupby("fold"):
        for name in manifest.SPLITS:
            if not of_fold.label[of_fold.split == name].any():
                raise InputError(
                    f"split: no patch for {name} (fold {fold}) shows a lesion; add patients, or "
                    "change config.split (seed, folds, fractions, center) or the column `split`."
                )
    return rows.sort_values(["fold", "position"], ignore_index=True)


def judge(
    config: ml_collections.ConfigDict,
    data: Data,
    networks: Sequence[Network],
    scored: pd.DataFrame,
    folder: pathlib.Path,
) -> None:
    """Writes cases.csv, metrics.json and figures/; prints the test figures beside the baselines'.

    Args:
      config: see configs/vnet.py.
      data: the patches.
      networks: of the splits.
      scored: rows of `fold.predict`, all folds.
      folder: of the run.
    """
    baselines = dice_baselines.predict(data.records, scored, _grid(config).spacing_mm)
    table = scored.assign(run=folder.resolve().name).reindex(columns=COLUMNS).join(baselines)
    figures = {
        "network": dice.metrics(table),
        "baselines": {name: dice.metrics(table, name) for name in baselines},
        "split": {
            "kind": "kfold" if config.split.folds > 0 else config.split.kind,
            "unit": config.split.unit,
            "fingerprint": splits.fingerprint(scored[["lesion_id", "fold", "split"]]),
        },
        "candidates": [network.candidates for network in networks if network.candidates],
        "notes": data.notes,
    }
    storage.write_table(folder / CASES, table)
    storage.write_json(folder / "metrics.json", figures)
    segmentation_figures.write(data, networks, scored, folder)
    print(summary(figures, "SE V-Net", _head, _line, _empty))


def _head(test: Figures) -> str:
    return (
        f"{test['dice']['n']} patches with lesion of {test['dice']['patients']} patients; mean "
        "Dice [95 % interval], median"
    )


def _line(row: Figures) -> str:
    found, median = estimate(row["dice"]), row["median_dice"]
    return found if median is None else f"{found}, {median:.3f}"


def _empty(test: Figures) -> Iterator[str]:
    if test["empty_cases"]:
        yield (
            f"{test['empty_cases']} patches without lesion; something found in "
            f"{test['empty_cases_with_finding']}"
        )
