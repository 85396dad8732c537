"""`--mode=sweep --scans`: what each trial's segmenter finds in whole scans, and finds wrongly.

Patches show Dice. How many false positives a reader would see in a scan is seen in whole scans
alone, so each trial, once trained, is evaluated on those of a manifest by the command that does so
for any run, `--mode=evaluate --scans`, on the engine of the sweep.
"""

import pathlib
import sys
from collections.abc import Collection, Sequence
from typing import Any

import ml_collections

from dtc_jax import storage
from dtc_jax.cohort import manifest
from dtc_jax.errors import UsageError
from dtc_jax.evaluation import scan_cache, whole_scans
from dtc_jax.experiment import calibrated, network
from dtc_jax.statistics import ablation
from dtc_jax.statistics.formatting import count
from dtc_jax.sweep import folder as folder_lib
from dtc_jax.sweep.jobs import Job
from dtc_jax.sweep.plan import Plan, Trial
from dtc_jax.sweep.status import Progress
from dtc_jax.tasks import registry

NAMES = {
    "scan_sensitivity": "lesions found in whole scans",
    "false_positives_per_scan": "false positives a scan",
}


def check(plan: Plan, path: storage.PathLike) -> int:
    """Checks that the trials can be evaluated on the scans of a manifest, before any is trained.

    Returns:
      The number of scans.

    Raises:
      UsageError: the trials find no lesions.
      InputError: see `manifest.read_manifest`.
    """
    task = registry.of(plan.trials[0].config)
    if not task.finds_lesions:
        raise UsageError(
            "--scans evaluates the segmenters of a sweep on whole scans, but its configuration "
            f"trains {task.words.noun}; omit --scans."
        )
    return int(manifest.read_manifest(path, healthy=True).image.nunique())


def job(folder: pathlib.Path, trial: Trial, program: Sequence[str], path: storage.PathLike) -> Job:
    """The evaluation of a trained trial as a command.

    Args:
      folder: of the sweep.
      trial: that is trained.
      program: what Python is told to run: launch.py, by its path.
      path: of the manifest.
    """
    home = folder_lib.workdir_of(folder, trial)
    words = ("--mode=evaluate", f"--workdir={home}", f"--scans={pathlib.Path(path).absolute()}")
    log = folder_lib.log_of(folder, trial)
    return Job(trial.name, (sys.executable, *program, *words), home, log)


def is_done(folder: pathlib.Path, trial: Trial) -> bool:
    """Whether the trial is evaluated, as it is trained now.

    The folder is moved into place once all of it is there.
    """
    path = _figures_of(folder, trial)
    if not path.is_file():
        return False
    of_run = folder_lib.workdir_of(folder, trial) / calibrated.METRICS
    figures = storage.read_json(of_run) if of_run.is_file() else {}
    return network.of_same_weights(figures, storage.read_json(path))


def progress(scans: int) -> Progress:
    """How much is done of an evaluation on so many scans."""

    def of_trial(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> tuple[float, str]:
        done = min(scan_cache.finished(workdir / whole_scans.CACHE), scans)
        return done / scans, f"{done} of {count(scans, 'scan')}"

    return of_trial


def estimates(folder: pathlib.Path, trials: Sequence[Trial]) -> dict[str, Any]:
    """The figures of a variant, means over the seeds of those of its trials that are evaluated.

    Returns:
      Those of `NAMES`, as JSON values; nothing without such a trial.
    """
    done = [trial for trial in trials if is_done(folder, trial)]
    tables = [whole_scans.read(folder_lib.workdir_of(folder, trial)) for trial in done]
    found = ablation.whole_scans(tables) if tables else {}
    return dict(zip(NAMES, found.values(), strict=False))


def notes(folder: pathlib.Path, plan: Plan, trained: Collection[str]) -> list[str]:
    """What a reader of the table has to know of them.

    Args:
      folder: of the sweep.
      plan: of the sweep.
      trained: names of the trials that are trained.
    """
    said = []
    done = [trial for trial in plan.trials if is_done(folder, trial)]
    if done:
        figures = storage.read_json(_figures_of(folder, done[0]))
        patients = count(figures["patients"], "patient")
        text = f"{count(figures['scans'], 'whole scan')} of {patients}"
        if left_out := figures["patients_left_out"]:
            text += f"; the scans of {left_out} others are left out, as training has seen them"
        said.append(f"{text}.")
        if len({_images(folder, trial) for trial in done}) > 1:
            said.append(
                "The scans have changed since some trials were evaluated, so their figures cannot "
                f"be compared. Delete the folders {whole_scans.FOLDER} in trials/ and run the same "
                "command again."
            )
    for name in plan.variants:
        open_ = [t for t in plan.of_variant(name) if t.name in trained and t not in done]
        if open_:
            said.append(
                f"{name}: {count(len(open_), 'trained trial')} not evaluated on whole scans yet."
            )
    return said


def _images(folder: pathlib.Path, trial: Trial) -> frozenset[str]:
    """The contents of the scans that a trial was evaluated on, as sums."""
    return frozenset(whole_scans.read(folder_lib.workdir_of(folder, trial))["scans"].image_sha256)


def _figures_of(folder: pathlib.Path, trial: Trial) -> pathlib.Path:
    return folder_lib.workdir_of(folder, trial) / whole_scans.FOLDER / "metrics.json"
