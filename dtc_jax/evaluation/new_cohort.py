"""A finished classifier evaluated on a labelled cohort that it has not seen."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax import storage
from dtc_jax.cohort import manifest, persons
from dtc_jax.errors import InputError, UsageError
from dtc_jax.experiment import artefacts, examples, folds, occlusion, report, workdir
from dtc_jax.report.report_run import Artefacts
from dtc_jax.statistics import baselines, predictions_table, sex, study, tables
from dtc_jax.statistics.formatting import count, estimate, p_value
from dtc_jax.tasks import lesion_figures, unlabelled
from dtc_jax.tasks.definition import Config
from dtc_jax.tasks.sources import Data
from dtc_jax.tasks.trained import TrainedNetwork

_NAMED = 10  # patients in a message
_SOURCE = "of the run, chosen on its validation split"


def evaluate(
    network: TrainedNetwork, path: storage.PathLike, folder: pathlib.Path, seen: set[str]
) -> dict[str, Any]:
    """Predicts the lesions of a manifest and writes their figures.

    Writes predictions.csv, baselines.csv, lesions.csv, metrics.json and a report into
    `folder`/cohorts/NAME, where NAME is that of the manifest, and prints the figures. The baselines
    are fitted on the run's own training lesions. The AUC is compared with that of the run's own
    test, unpaired and clustered by patient.

    Args:
      network: of a classifier's run, with the run's threshold.
      path: of the manifest.
      folder: of the run.
      seen: patients whom the run has seen besides those of its predictions.csv.

    Returns:
      The figures of metrics.json.

    Raises:
      InputError: see the manifest and the scans; or the run knows some of the patients.
      UsageError: the run did not learn from scans.
    """
    if network.config.data.source == "medmnist3d":
        raise UsageError("--manifest needs a classifier that was trained on scans in HU.")
    own = predictions_table.read(folder / lesion_figures.PREDICTIONS)
    config = _config(network.config, storage.existing_file(str(path), "--manifest"))
    patients = persons.ids(manifest.read_manifest(path, healthy=True))
    _refuse_known(path, patients, own, seen)
    data = network.task.load(config)
    rows = data.table[data.table.label.notna()].assign(split="test")
    names = _cohorts(set(rows.cohort), set(own.cohort), pathlib.Path(path).stem)
    rows = rows.assign(cohort=rows.cohort.map(names))
    new = _predicted(network, data, rows, str(own.run.iloc[0]))
    compared, notes = _baselines(network, folder, data, rows)
    figures = {
        "network": tables.metrics(new),
        "baselines": {name: tables.metrics(part) for name, part in compared.groupby("run")},
        "comparisons": _comparisons(own, new, network.config),
        "manifest": pathlib.Path(path).name,
        "networks": network.fingerprints,
        "notes": [*data.notes, *sex.note(rows), *notes],
        "flow": [
            vars(step) | {"cohort": names.get(step.cohort, step.cohort)} for step in data.flow
        ],
    }
    details = lesion_figures.details(network.config, data)
    home = folder / "cohorts" / pathlib.Path(path).stem
    with storage.atomic_folder(home) as partial:
        storage.write_table(partial / lesion_figures.PREDICTIONS, new)
        storage.write_table(partial / "baselines.csv", compared)
        storage.write_table(partial / "lesions.csv", details)
        storage.write_json(partial / "metrics.json", figures)
    print(_summary(figures, network))
    if network.config.get("write_report", True):
        both = [home / lesion_figures.PREDICTIONS, folder / lesion_figures.PREDICTIONS]
        by_fold = {int(fold): network for fold in new.fold.unique()}
        occluded = occlusion.scores(by_fold, data, new)
        storage.write_table(home / occlusion.FILE, occluded)
        found = _artefacts(folder, compared, details, occluded, figures)
        shown = examples.make(by_fold, data, new)
        found = dataclasses.replace(found, examples=shown)
        report.write(both, home / "report", run_artefacts=found)
    print(f"Everything is in {home}/ (metrics.json first).")
    return figures


def _config(config: Config, path: pathlib.Path) -> Config:
    """The configuration of the run on the lesions of another manifest."""
    other = config.copy_and_resolve_references().unlock()
    other.data.update(source="manifest", manifest=str(path))
    other.selection.draw_cohorts = ()  # all lesions are evaluated
    return other.lock()


def _cohorts(cohorts: set[str], taken: set[str], name: str) -> dict[str, str]:
    """What each cohort is called: where the run has one of that name, told apart by `name`."""
    if not taken & cohorts:
        return {cohort: cohort for cohort in cohorts}
    new = {cohort: name if len(cohorts) == 1 else f"{name} {cohort}" for cohort in cohorts}
    return {cohort: f"new {word}" if word in taken else word for cohort, word in new.items()}


def _refuse_known(
    path: storage.PathLike, patients: set[str], own: pd.DataFrame, seen: set[str]
) -> None:
    """Refuses patients whom the run was trained, chosen or tested on.

    The tested ones, too: the comparison with the run's own test is one of different patients.
    """
    learned = persons.in_common(patients, persons.ids(own[own.split != "test"]) | seen)
    tested = persons.in_common(patients, persons.ids(own[own.split == "test"])) - learned
    for known, what in (
        (learned, "the run was trained or chosen on"),
        (tested, "the run was already tested on"),
    ):
        if known:
            names = sorted(known)
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            raise InputError(
                f"{path}: {what} {len(names)} of its {count(len(patients), 'patient')} (equal ids "
                f"count as one patient): {', '.join(names[:_NAMED])}{more}. Delete their rows."
            )


def _predicted(network: TrainedNetwork, data: Data, rows: pd.DataFrame, run: str) -> pd.DataFrame:
    """The rows of predictions.csv of the new cohort."""
    scores = folds.predict_together(network.members, data, rows)
    decided = rows.assign(
        run=run,
        fold=_fold(network),
        score=scores,
        threshold=network.threshold,
        threshold_source=_SOURCE,
        decision=(scores >= network.threshold).astype(int),
    )
    columns = lesion_figures.columns(rows)
    return decided.reindex(columns=columns).astype({"label": int, "decision": int})


def _fold(network: TrainedNetwork) -> int:
    """0; of several networks together, which have no validation, a number of no fold."""
    return 0 if len(network.members) == 1 else len(network.members)


def _baselines(
    network: TrainedNetwork, folder: pathlib.Path, data: Data, rows: pd.DataFrame
) -> tuple[pd.DataFrame, list[str]]:
    """Predictions of the baselines, fitted on the training lesions of each fold of the run.

    Where these are not at hand, as on another machine, there are none, and a note says why.
    """
    task, config = network.task, network.config
    columns = lesion_figures.columns(rows)
    try:
        learned = task.load(config)
    except InputError as error:
        note = f"no baselines, since the lesions that the run was trained on are missing: {error}"
        return pd.DataFrame(columns=columns), [note]
    own = task.split(config, learned.table)
    beside = unlabelled.allowed(config, learned, own)
    workdir.check_data(folder, config, own, learned.fingerprint, beside)
    inputs, parts = lesion_figures.baseline_inputs(data, rows), []
    for fold, of_fold in own.groupby("fold"):
        of_run = lesion_figures.baseline_inputs(learned, of_fold)
        both = pd.concat(
            [of_fold.assign(is_new=False), rows.assign(is_new=True, fold=fold)], ignore_index=True
        )
        matrices = {
            name: np.concatenate([of_run[name], inputs[name]]) for name in of_run if name in inputs
        }
        predicted = baselines.predict(both, matrices, config.threshold)
        parts.append(predicted[predicted.is_new])
    common = set.intersection(*(set(part.run) for part in parts))
    parts = [part[part.run.isin(common)].reset_index(drop=True) for part in parts]
    scores, thresholds = (
        folds.mean_of_logits([part[name].to_numpy() for part in parts])
        for name in ("score", "threshold")
    )
    decisions = np.where(np.isnan(scores), np.nan, scores >= thresholds)
    together = parts[0].assign(
        fold=_fold(network), score=scores, threshold=thresholds, decision=decisions
    )
    return together.assign(threshold_source=_SOURCE).reindex(columns=columns), []


def _comparisons(own: pd.DataFrame, new: pd.DataFrame, config: Config) -> list[dict[str, Any]]:
    """COMPARISONs of `statistics.study`, each tested cohort of the run against each new one."""
    margin = study.Settings(**config.get("report", {})).margin
    both = pd.concat([own[own.split == "test"], new], ignore_index=True)
    entries = study.unpaired(tables.usable(both), margin)
    cohorts = set(new.cohort)
    return [
        entry
        for entry in entries
        if entry["second"]["cohort"] in cohorts and entry["first"]["cohort"] not in cohorts
    ]


def _artefacts(
    folder: pathlib.Path,
    compared: pd.DataFrame,
    details: pd.DataFrame,
    occluded: pd.DataFrame,
    figures: dict[str, Any],
) -> Artefacts:
    """What the report uses besides the predictions: of the run and of the new cohort."""
    of_run = artefacts.read(folder / lesion_figures.PREDICTIONS)
    metrics = {name: [*of_run.metrics.get(name, []), *figures[name]] for name in ("notes", "flow")}
    return dataclasses.replace(
        of_run,
        metrics={**of_run.metrics, **metrics},
        baselines=pd.concat([of_run.baselines, compared], ignore_index=True),
        lesions=pd.concat([of_run.lesions, details], ignore_index=True),
        occluded=pd.concat([of_run.occluded, occluded], ignore_index=True),
    )


def _summary(figures: dict[str, Any], network: TrainedNetwork) -> str:
    lines = [lesion_figures.summary(figures, network)]
    for entry in figures["comparisons"]:
        first, second = (entry[side]["cohort"] for side in ("first", "second"))
        lines.append(
            f"AUC of {first}, test, minus {second}: {estimate(entry['difference'], sign='+')}, "
            f"P {p_value(entry['p'])} (unpaired, clustered by patient)"
        )
    return "\n".join(lines)
