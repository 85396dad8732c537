"""`--mode=pipeline`: both networks on one split of the patients, and what errors of the first cost.

The segmenter proposes regions, the classifier decides on them. Where each had its own split, the
classifier would be judged on regions of patients whom the segmenter was trained on, which are
better than those of new patients. Here nobody who is judged was seen by either.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections
import pandas as pd

from dtc_jax import progress, storage
from dtc_jax.cohort import manifest, splits
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging.perturb import Perturbation
from dtc_jax.inference.classify import make_classifier
from dtc_jax.inference.segment import make_segmenter
from dtc_jax.runs import data as data_lib
from dtc_jax.runs import environment, networks, preflight, regions, whole_scans
from dtc_jax.runs import workdir as workdir_lib
from dtc_jax.runs.fold import Network
from dtc_jax.runs.train import train
from dtc_jax.statistics import detection, error_budget

_TASKS = ("segmenter", "classifier")
_JUDGED = ("patient_id", "lesion_id", "cohort", "label", "fold")


def pipeline(config: ml_collections.ConfigDict, workdir: storage.PathLike) -> None:
    """Trains both networks in `workdir`/segmenter and /classifier and judges them together.

    Writes split.csv, regions.csv and pipeline.json, and prints the error budget. The same call goes
    on with a stopped one.

    Args:
      config: see configs/pipeline.py.
      workdir: of the run.

    Raises:
      InputError: see `train`; or the patients of the test were seen by a network.
      Stopped: a signal came; the state is saved.
    """
    environment.prepare()
    _check(config)
    perturbation = Perturbation(**config.perturb)
    configs = {name: composed(config, name) for name in _TASKS}
    for own in configs.values():
        preflight.check(own)
    folder = workdir_lib.claim(workdir, config)
    data = data_lib.load(configs["classifier"])
    people = manifest.read_manifest(data_lib.manifest_path(configs["classifier"]))
    judged = _share_split(config, data.table, people, folder / "split.csv")
    for name, own in configs.items():
        print(f"--- {name}", flush=True)
        own.split.update(kind="file", file=str(folder / "split.csv"))
        train(own, folder / name)
    hashes = isolated(folder, set(judged.patient_id))
    scans = people[people.patient_id.isin(judged.patient_id)]
    tables = _tables(folder, scans, perturbation, config.seed)
    table = _joined(tables["lesions"], judged, networks.threshold(folder / "classifier"))
    storage.write_table(folder / "regions.csv", table)
    figures = {
        "split": hashes,
        "mask": configs["classifier"].preprocess.mask,
        "lesions_left_out": len(judged) - len(table),
        "cohorts": {
            str(cohort): _figures(rows, tables)
            for cohort, rows in table.groupby("cohort", sort=False)
        },
        "perturbation": config.perturb.to_dict(),
    }
    storage.write_json(folder / "pipeline.json", figures)
    print("\n".join(_summary(figures)))


def _check(config: ml_collections.ConfigDict) -> None:
    if config.get("task") != "pipeline":
        raise UsageError(
            "--mode=pipeline trains two networks: give --config=configs/pipeline.py[:demo]."
        )
    if config.split.unit != "patient" or config.split.folds > 0:
        raise UsageError(
            "--mode=pipeline keeps whole patients apart, once: config.split.unit must be 'patient' "
            "and config.split.folds 0."
        )


def composed(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The configuration of one of the networks, on the data and the split of both."""
    own = config[name].copy_and_resolve_references()
    own.data.update(config.data.to_dict())
    own.split.update(config.split.to_dict())
    return own


def isolated(folder: pathlib.Path, judged: set[str]) -> dict[str, str]:
    """Holds the splits that both trainings stored against the patients of the test.

    Returns:
      The fingerprint of the patients' split, and of each network's split of its lesions or patches.

    Raises:
      InputError: a network was trained or chosen on a patient of the test.
    """
    shared = _read(folder / "split.csv", ["patient_id", "split"])
    rows = shared.assign(lesion_id=shared.patient_id, fold=0)
    hashes = {"patients": splits.fingerprint(rows)}
    for name, table in (("segmenter", "cases.csv"), ("classifier", "predictions.csv")):
        stored = _read(folder / name / table, ["patient_id", "lesion_id"])
        seen = set(stored.patient_id[stored.split != "test"]) & judged
        if seen:
            raise InputError(
                f"{folder / name}: trained or chosen on {len(seen)} patients of the test, such as "
                f"{min(seen)}. Name a new --workdir."
            )
        hashes[name] = str(storage.read_json(folder / name / "data.json")["split"])
    return hashes


def _share_split(
    config: ml_collections.ConfigDict, table: pd.DataFrame, people: pd.DataFrame, path: pathlib.Path
) -> pd.DataFrame:
    """Writes on which side each patient of the cohort is; who has no label helps the segmenter.

    Returns:
      The lesions on which the classifier is judged, with the columns of `_JUDGED`.
    """
    rows = data_lib.assign(config, table)
    sides = rows.drop_duplicates("patient_id").set_index("patient_id").split
    own = people.patient_id[people.cohort == config.split.cohort].drop_duplicates()
    shared = pd.DataFrame({"patient_id": own, "split": own.map(sides).fillna("train")})
    storage.write_table(path, shared.sort_values("patient_id"))
    return rows.loc[rows.split == "test", list(_JUDGED)]


def _tables(
    folder: pathlib.Path, scans: pd.DataFrame, perturbation: Perturbation, seed: int
) -> dict[str, pd.DataFrame]:
    """`regions.of_scan` of all scans; those of an earlier call that was stopped are kept."""
    (segmenter,) = networks.load(folder / "segmenter", "segmentation")
    (classifier,) = networks.load(folder / "classifier", "classification")
    threshold = networks.threshold(folder / "classifier")
    home = regions_folder(folder, [segmenter, classifier], threshold, perturbation, seed)
    find = make_segmenter(segmenter.config, segmenter.result)
    decide = make_classifier([(classifier.config, classifier.result)], threshold)
    parts: dict[str, list[pd.DataFrame]] = {"scans": [], "lesions": [], "candidates": []}
    # By the lesions' ids: another order of the manifest's rows takes no scan for another one's.
    by_scan = scans.sort_values("lesion_id").groupby("image", sort=False)
    groups = list(enumerate(by_scan))
    for number, (_, rows) in progress.track(groups, "scans"):
        done = home / f"scan-{number:03d}"
        if not done.is_dir():
            found = regions.of_scan(find, decide, rows, perturbation, seed)
            with storage.atomic_folder(done) as partial:
                for kind, one in found.items():
                    one.insert(0, "patient_id", rows.patient_id.iloc[0])
                    storage.write_table(partial / f"{kind}.csv", one)
        for kind, of_kind in parts.items():
            ids = ["patient_id", *(["lesion_id"] if kind == "lesions" else [])]
            of_kind.append(_read(done / f"{kind}.csv", ids))
    tables = {kind: pd.concat(of_kind, ignore_index=True) for kind, of_kind in parts.items()}
    # A file without a row does not say of which type its columns are.
    for kind, column in (("lesions", "is_found"), ("candidates", "is_false")):
        tables[kind] = tables[kind].astype({column: bool})
    return tables


def regions_folder(
    folder: pathlib.Path,
    trained: Sequence[Network],
    threshold: float,
    perturbation: Perturbation,
    seed: int,
) -> pathlib.Path:
    """Where the judged scans are kept: another one as soon as anything that they hang on differs.

    That is the networks, the threshold, what is drawn, and the contents of the scans and masks, of
    which each training has stored the fingerprint.
    """
    known = {
        "networks": [networks.fingerprints([one]) for one in trained],
        "data": [storage.read_json(folder / name / "data.json") for name in _TASKS],
        "threshold": threshold,
        "perturbation": dataclasses.asdict(perturbation),
        "seed": seed,
    }
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    return folder / "regions" / key[:12]


def _read(path: pathlib.Path, ids: Sequence[str]) -> pd.DataFrame:
    """A table whose ids are text whatever they look like: 'NA' is an id."""
    return pd.read_csv(path, converters=dict.fromkeys(ids, str))


def _joined(lesions: pd.DataFrame, judged: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """The judged lesions with what is known of their regions, and the threshold of the decision.

    A lesion whose region lies within another one's has no region of its own: it is left out.
    """
    known = lesions.drop(columns="patient_id").dropna(subset=["manual", "perturbed"])
    table = judged.merge(known, on="lesion_id", validate="one_to_one")
    return table.assign(threshold=threshold, label=table.label.astype(int))


def _figures(rows: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Of a cohort: the budget of its judged lesions, and detection in the scans of its patients."""
    own = {kind: one[one.patient_id.isin(rows.patient_id)] for kind, one in tables.items()}
    false = own["candidates"][own["candidates"].is_false]
    alarms = false[false.probability >= rows.threshold.iloc[0]]
    how = {"resamples": 2000, "seed": 0}
    alarms_a_scan = detection.false_positives(own["scans"], alarms, **how)
    return {
        "budget": error_budget.error_budget(rows),
        "detection": detection.detection(**own),
        "false_alarms_per_scan": alarms_a_scan.as_dict(),
    }


def _summary(figures: dict[str, Any]) -> Iterator[str]:
    for cohort, found in figures["cohorts"].items():
        budget = found["budget"]
        first = budget["regions"]["manual"]
        yield (
            f"{cohort}, test: {first['lesions']} lesions of {first['patients']} patients "
            f"({first['positives']} refractory), whom neither network has seen; 95 % intervals"
        )
        for name, one in budget["regions"].items():
            dice = f"  Dice {one['dice']['value']:.3f}" if one.get("dice", {}).get("value") else ""
            if "changed" in one:
                dice += f", {one['changed']} regions changed"
            yield f"  {name:<16} n {one['lesions']:<4} AUC {_told(one['auc'])}  accuracy " + (
                f"{_told(one['accuracy'])}{dice}"
            )
        for name, one in budget["differences"].items():
            yield f"  AUC, {name}: {_told(one, '+') if one else 'n/a'}"
        for name, one in budget["cascade"].items():
            yield (
                f"  of {one['lesions']} {name} lesions {one['found']} are found, "
                f"{one['found_and_right']} of these decided rightly (by hand: "
                f"{one['right_by_hand']} of {one['lesions']})"
            )
        yield f"  false alarms (refractory) a scan  {_told(found['false_alarms_per_scan'])}"
        yield "  " + whole_scans.summary(found["detection"]).replace("\n", "\n  ")
    if figures["lesions_left_out"]:
        yield f"  left out, their regions covered by others: {figures['lesions_left_out']} lesions"
    yield f"  the classifier sees the region: {figures['mask']} (config.preprocess.mask)"
    yield "  splits: " + ", ".join(f"{k} {v[:12]}" for k, v in figures["split"].items())


def _told(one: dict[str, Any], sign: str = "") -> str:
    if one["value"] is None:
        return "n/a"
    interval = "" if one["low"] is None else f" [{one['low']:{sign}.3f}, {one['high']:{sign}.3f}]"
    return f"{one['value']:{sign}.3f}{interval}"
