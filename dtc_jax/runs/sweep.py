"""`--mode=sweep`: one configuration in many variants, each trained apart, and one table of all."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Sequence

import jax
import ml_collections
import pandas as pd

from dtc_jax import storage
from dtc_jax.errors import InputError, UsageError
from dtc_jax.experiment import environment, folds, initial
from dtc_jax.progress import Live
from dtc_jax.statistics.formatting import count
from dtc_jax.sweep import (
    ablation,
    engines,
    folder,
    halving,
    jobs,
    plan,
    status,
    table,
    whole_scans,
)
from dtc_jax.tasks import registry
from dtc_jax.tasks.sources import Data
from dtc_jax.training.result import OnEvaluation


def run(
    config: ml_collections.ConfigDict,
    sweep: storage.PathLike,
    out: storage.PathLike,
    *,
    program: Sequence[str],
    given: Iterable[str] = (),
    engine: str = "local",
    retries: int = 1,
    share: float | None = None,
    cores: int | None = None,
    ray_address: str | None = None,
    slurm: Sequence[str] | None = None,
    asha: int | None = None,
    scans: storage.PathLike = "",
) -> None:
    """Runs what is missing of a sweep and writes its table; the same call goes on with it.

    Args:
      config: that the variants start from.
      sweep: the sweep file, see `sweep.plan`.
      out: folder of the sweep, see `sweep.folder`.
      program: what Python is told to run to train a trial: launch.py, by its path.
      given: see `sweep.plan.make`.
      engine: that runs the trials, see `sweep.engines`.
      retries: how often a trial that failed is started again.
      share: of a GPU for a trial, see `sweep.jobs.Resources`.
      cores: of the CPU for a trial.
      ray_address: of a cluster.
      slurm: 'NAME=VALUE' of submitit.
      asha: see `sweep.halving`.
      scans: manifest on whose whole scans each segmenter is evaluated once it is trained, see
        `sweep.whole_scans`; '' for none.

    Raises:
      InputError: bad input, `out` belongs to another sweep, or trials failed: the others are done
        and in the table.
      Stopped: a signal came; the trials have saved their state.
    """
    # The accelerators are for the trials; this process only checks, counts, and adds up.
    jax.config.update("jax_platforms", "cpu")
    environment.prepare()
    resources = jobs.Resources(share or 1.0, cores, ray_address or "", _parameters(slurm or ()))
    engine_of = engines.get(engine, resources)
    planned = plan.make(config, sweep, given)
    total = len(planned.trials)
    if asha is not None:
        halving.check(planned)
    scan_count = whole_scans.check(planned, scans) if scans else 0
    with folder.claimed(out, planned, scans) as home, Live() as live:
        rungs = halving.prepare(home, planned, asha)
        record = folder.Record(home, planned.trials)
        work = _Work(home, planned.trials, record, live, engine_of, retries)
        trained = work.train(program, rungs)
        failed = total - len(trained)
        if scans:
            failed += work.evaluate(trained, program, scans, scan_count)
        page = table.write(home, ablation.figures(home, planned))
    print((home / "ablation.md").read_text(encoding="utf-8"))
    print(f"Table: {page} (open it in a browser)")
    if failed:
        why = "; ".join(
            f"{name}: {text}" for name, text in folder.failed(pathlib.Path(out)).items()
        )
        raise InputError(
            f"{failed} of {total} trials failed ({why[:600]}). What they printed is in "
            f"{home}/logs; the same command tries them again."
        )


@dataclasses.dataclass(frozen=True)
class _Work:
    """What is missing of a sweep, done by its engine.

    Attributes:
      home: the sweep's folder.
      trials: all of them.
      record: of how they went.
      live: where progress is shown.
      start: the engine that runs the trials.
      retries: how often a trial that failed is started again.
    """

    home: pathlib.Path
    trials: Sequence[plan.Trial]
    record: folder.Record
    live: Live
    start: jobs.Engine
    retries: int

    def train(self, program: Sequence[str], rungs: pathlib.Path | None) -> list[plan.Trial]:
        """Trains those that are not trained; returns those that are then."""
        missing = [trial for trial in self.trials if not folder.is_done(self.home, trial)]
        all_, variants = len(self.trials), len({trial.variant for trial in self.trials})
        self.live.say(f"{all_} trials of {variants} variants, {len(missing)} to do")
        if missing:
            _build(self.home, missing)
            folder.wait(self.home, missing, self.live)
            self.record.reopen(missing)
            shown = status.Status(self.live, self.trials, all_ - len(missing))
            todo = [folder.job(self.home, trial, program, rungs) for trial in missing]
            self._drive(todo, shown, self.record.add)
        return [trial for trial in self.trials if folder.is_done(self.home, trial)]

    def evaluate(
        self,
        trained: Sequence[plan.Trial],
        program: Sequence[str],
        scans: storage.PathLike,
        scan_count: int,
    ) -> int:
        """Evaluates the trained ones on whole scans; returns how many of them could not be."""

        def missing() -> list[plan.Trial]:
            return [trial for trial in trained if not whole_scans.is_done(self.home, trial)]

        if new := missing():
            what = f"{count(len(new), 'trial')} to evaluate on {count(scan_count, 'scan')}"
            self.live.say(what)
            progress = whole_scans.progress(scan_count)
            shown = status.Status(self.live, trained, len(trained) - len(new), progress)
            todo = [whole_scans.job(self.home, trial, program, scans) for trial in new]
            self._drive(todo, shown, self.record.add_scans)
        return len(missing())

    def _drive(
        self,
        todo: Sequence[jobs.Job],
        shown: status.Status,
        note: Callable[[jobs.Outcome], None],
    ) -> None:
        for outcome in self.start(todo, self.retries, shown.look):
            note(outcome)
            shown.end(outcome)


def callback(rungs: str | None, workdir: storage.PathLike) -> OnEvaluation | None:
    """What a training of a sweep with --asha asks at each evaluation; None without `rungs`.

    Raises:
      InputError: `rungs` is not the folder of such a sweep.
    """
    return halving.of_trial(rungs, workdir) if rungs else None


def _parameters(words: Sequence[str]) -> dict[str, str | int]:
    """'timeout_min=60' as {'timeout_min': 60}.

    Raises:
      UsageError: one is not of that form.
    """
    parameters: dict[str, str | int] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not name or not sign:
            raise UsageError(f"--slurm={word}: give NAME=VALUE, such as slurm_partition=gpu.")
        parameters[name] = int(value) if value.isdecimal() else value
    return parameters


def _build(home: pathlib.Path, trials: Sequence[plan.Trial]) -> None:
    """Generates and builds the data once for all trials, and refuses what is wrong with them.

    Raises:
      InputError: a trial could not begin; names its variant.
    """
    loaded = dict[str, tuple[Data, pd.DataFrame]]()
    for trial in trials:
        config, wanted = trial.config, repr((trial.config.data, trial.config.preprocess))
        try:
            initial.check_source(config, folder.workdir_of(home, trial))
            if wanted not in loaded:
                task = registry.of(config)
                data = task.load(config)
                loaded[wanted] = data, task.split(config, data.table)
            folds.check(config, *loaded[wanted])
        except InputError as error:
            raise type(error)(f"variant {trial.variant}: {error}") from error
