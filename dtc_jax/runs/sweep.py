"""`--mode=sweep`: one configuration in many variants, each trained apart, and one table of all."""

import pathlib
from collections.abc import Sequence

import jax
import ml_collections

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.experiment import environment
from dtc_jax.progress import Live
from dtc_jax.sweep import ablation, engines, folder, plan, status, table
from dtc_jax.tasks import registry


def run(
    config: ml_collections.ConfigDict,
    sweep: storage.PathLike,
    out: storage.PathLike,
    *,
    program: Sequence[str],
    engine: str = "local",
    retries: int = 1,
) -> None:
    """Runs what is missing of a sweep and writes its table; the same call goes on with it.

    Args:
      config: that the variants start from.
      sweep: the sweep file, see `sweep.plan`.
      out: folder of the sweep, see `sweep.folder`.
      program: what Python is told to run to train a trial: launch.py, by its path.
      engine: that runs the trials, see `sweep.engines`.
      retries: how often a trial that failed is started again.

    Raises:
      InputError: bad input, `out` belongs to another sweep, or trials failed: the others are done
        and in the table.
      Stopped: a signal came; the trials have saved their state.
    """
    # The accelerators are for the trials; this process only checks, counts, and adds up.
    jax.config.update("jax_platforms", "cpu")
    environment.prepare()
    engine_of = engines.get(engine)
    planned = plan.make(config, sweep)
    with folder.claimed(out, planned) as home, Live() as live:
        missing = [trial for trial in planned.trials if not folder.is_done(home, trial)]
        count = len(planned.trials)
        live.say(f"{count} trials of {len(planned.variants)} variants, {len(missing)} to do")
        record = folder.Record(home, planned.trials)
        if missing:
            _build(planned.trials)
            shown = status.Status(live, planned.trials, count - len(missing))
            todo = [folder.job(home, trial, program) for trial in missing]
            for outcome in engine_of(todo, retries, shown.look):
                record.add(outcome)
                shown.end(outcome)
        failed = {trial.name for trial in missing if not folder.is_done(home, trial)}
        page = table.write(home, ablation.figures(home, planned))
    print((home / "ablation.md").read_text(encoding="utf-8"))
    print(f"Table: {page} (open it in a browser)")
    if failed:
        why = "; ".join(
            f"{name}: {text}" for name, text in folder.failed(pathlib.Path(out)).items()
        )
        raise InputError(
            f"{len(failed)} of {count} trials failed ({why[:600]}). What they printed is in "
            f"{home}/logs; the same command tries them again."
        )


def _build(trials: tuple[plan.Trial, ...]) -> None:
    """Generates and builds the data once for all trials, and refuses what is wrong with them."""
    built = set[str]()
    for trial in trials:
        wanted = repr((trial.config.data, trial.config.preprocess))
        if wanted not in built:
            built.add(wanted)
            task = registry.of(trial.config)
            task.split(trial.config, task.load(trial.config).table)
