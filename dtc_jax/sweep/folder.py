"""The folder of a sweep: which sweep it belongs to, and what is done of it.

| in the folder | |
|---|---|
| sweep.json | base, margin, fields of each variant, configuration of each trial, sum of --scans |
| configs/TRIAL.py | the configuration of a trial: `launch.py --config=…` trains it by hand |
| trials/TRIAL | the work directory of a trial |
| logs/TRIAL.log | what it printed |
| trials.csv | how each trial ended |
| rungs | with --asha: what each trial reached, see `halving` |
| ablation.* | the table |
"""

import contextlib
import pathlib
import pprint
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.errors import InputError
from dtc_jax.experiment import results, workdir
from dtc_jax.progress import Live
from dtc_jax.sweep import lifeline
from dtc_jax.sweep.jobs import Job, Outcome
from dtc_jax.sweep.plan import Plan, Trial
from dtc_jax.tasks import fields, registry

_FILE, _OUTCOMES = "sweep.json", "trials.csv"
_MARGIN_SECONDS, _LOOK_SECONDS = 10.0, 0.5  # after the grace of a trial; between two looks
_COLUMNS = ("trial", "variant", "seed", "state", "attempts", "seconds", "message")
_CONFIG = '''"""Trial {name} of a sweep, written by launch.py: an ordinary configuration."""

import ml_collections


def get_config():
    return ml_collections.ConfigDict(
{fields}
    ).lock()
'''


@contextlib.contextmanager
def claimed(
    path: storage.PathLike, plan: Plan, scans: storage.PathLike = ""
) -> Iterator[pathlib.Path]:
    """Makes `path` the folder of the sweep, for this process alone as long as the block lasts.

    A later call may add variants, seeds and scans. What is there already can be neither changed nor
    taken away, so that the table counts every variant that was looked at.

    Args:
      path: of the folder.
      plan: of the sweep.
      scans: the manifest on whose whole scans its trials are evaluated; '' for none.

    Raises:
      InputError: it is the folder of another sweep or of something else, or in use.
    """
    folder = pathlib.Path(path)
    new = _plain(plan) | {"scans": storage.sha256(pathlib.Path(scans)) if scans else None}
    if (folder / _FILE).exists():
        old = storage.read_json(folder / _FILE)
        new["scans"] = new["scans"] or old.get("scans")
        _check(folder, old, new)
    elif not workdir.is_free(folder):
        what = "is not empty and has no" if folder.is_dir() else "is a file, not a folder with a"
        raise InputError(f"{folder}: {what} {_FILE}. Choose another --out.")
    with workdir.locked(folder):
        storage.remove_dead(folder)
        storage.write_json(folder / _FILE, new)
        yield folder


def _plain(plan: Plan) -> dict[str, Any]:
    configs = {trial.name: fields.plain(trial.config) for trial in plan.trials}
    own = {name: dict(of_variant) for name, of_variant in plan.variants.items()}
    return {"base": plan.base, "margin": plan.margin, "variants": own, "trials": configs}


def _check(folder: pathlib.Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    different = [
        f"{key}: {old[key]!r} before, {new[key]!r} now"
        for key in ("base", "margin")
        if old[key] != new[key]
    ]
    # The table has what the trials find in whole scans, and that all by one rule.
    free = {*fields.FREE} - {*(fields.OF_SCANS if new["scans"] else ())}
    for name, config in old["trials"].items():
        if name not in new["trials"]:
            different.append(f"trial {name} is missing")
            continue
        different += [
            f"{name}: {field}: {before!r} before, {now!r} now"
            for field, before, now in workdir.differences(config, new["trials"][name])
            if field not in free
        ]
    if old.get("scans") not in (None, new["scans"]):
        different.append("its trials were evaluated on another manifest of --scans")
    if different:
        more = f"; and {len(different) - 4} more" if len(different) > 4 else ""
        raise InputError(
            f"{folder}: contains another sweep ({'; '.join(different[:4])}{more}). Choose another "
            "--out, or delete this one to start again."
        )


def workdir_of(folder: pathlib.Path, trial: Trial) -> pathlib.Path:
    """The work directory of a trial."""
    return folder / "trials" / trial.name


def log_of(folder: pathlib.Path, trial: Trial) -> pathlib.Path:
    """What a trial prints."""
    return folder / "logs" / f"{trial.name}.log"


def manifest_sum(folder: pathlib.Path) -> str | None:
    """SHA-256 of the manifest on whose whole scans the trials are evaluated, if they are."""
    found: str | None = storage.read_json(folder / _FILE).get("scans")
    return found


def is_done(folder: pathlib.Path, trial: Trial) -> bool:
    """Whether the trial is finished: metrics.json is written when all else is, and says it.

    Raises:
      InputError: its work directory belongs to another configuration.
    """
    home = workdir.check(workdir_of(folder, trial), trial.config)
    return results.is_complete(home, registry.of(trial.config).table)


def wait(folder: pathlib.Path, trials: Sequence[Trial], live: Live) -> None:
    """Waits for trials of a sweep that was killed: each has a minute to save its state.

    A trial that goes on after that, as with `slurm`, fails: its folder is in use.
    """
    deadline = time.monotonic() + lifeline.GRACE_SECONDS + _MARGIN_SECONDS
    for trial in trials:
        if workdir.is_in_use(workdir_of(folder, trial)):
            live.say(f"{trial.name}: its folder is still in use by another process; waiting")
            while workdir.is_in_use(workdir_of(folder, trial)) and time.monotonic() < deadline:
                time.sleep(_LOOK_SECONDS)


def job(
    folder: pathlib.Path,
    trial: Trial,
    program: Sequence[str],
    rungs: pathlib.Path | None = None,
) -> Job:
    """The ordinary training of a trial as a command; writes its configuration.

    Args:
      folder: of the sweep.
      trial: to run.
      program: what Python is told to run: launch.py, by its path.
      rungs: folder of `halving`; None without it.
    """
    config, home = folder / "configs" / f"{trial.name}.py", workdir_of(folder, trial)
    literal = pprint.pformat(trial.config.to_dict(), indent=1, width=92, sort_dicts=False)
    text = "\n".join(f"        {line}" for line in literal.splitlines())
    storage.write_text(config, _CONFIG.format(name=trial.name, fields=text))
    command = [sys.executable, *program, f"--config={config}", f"--workdir={home}"]
    if rungs is not None:
        command.append(f"--rungs={rungs}")
    return Job(trial.name, tuple(command), home, log_of(folder, trial))


class Record:
    """trials.csv, written anew at each outcome."""

    def __init__(self, folder: pathlib.Path, trials: Sequence[Trial]):
        """Args: folder: of the sweep. trials: all of them."""
        self._folder, self._trials = folder, trials
        self._rows = {row["trial"]: row for row in _read(folder).to_dict("records")}

    def add(self, outcome: Outcome) -> None:
        """Notes how a trial ended."""
        state = "failed" if outcome.code else "done"
        self._rows[outcome.name] = {
            "state": state,
            "attempts": outcome.attempts,
            "seconds": f"{outcome.seconds:.0f}",
            "message": outcome.message,
        }
        self.write()

    def add_scans(self, outcome: Outcome) -> None:
        """Notes how the evaluation of a trained trial on whole scans ended."""
        state = ("failed", f"whole scans: {outcome.message}") if outcome.code else ("done", "")
        row = dict(zip(("state", "message"), state, strict=True))
        self._rows[outcome.name] = self._rows.get(outcome.name, {}) | row
        self.write()

    def reopen(self, trials: Sequence[Trial]) -> None:
        """Forgets how trials ended that are run again."""
        for trial in trials:
            self._rows.pop(trial.name, None)
        self.write()

    def write(self) -> None:
        """Writes the table; a trial that has not ended yet is open."""
        rows = [
            {"state": "open"}
            | self._rows.get(trial.name, {})
            | {"trial": trial.name, "variant": trial.variant, "seed": trial.seed}
            for trial in self._trials
        ]
        storage.write_table(
            self._folder / _OUTCOMES, pd.DataFrame(rows, columns=_COLUMNS, dtype=object)
        )


def failed(folder: pathlib.Path) -> dict[str, str]:
    """Trial -> why it failed, of those that have."""
    table = _read(folder)
    return {row.trial: row.message for row in table[table.state == "failed"].itertuples()}


def _read(folder: pathlib.Path) -> pd.DataFrame:
    path = folder / _OUTCOMES
    if not path.exists():
        return pd.DataFrame(columns=_COLUMNS)
    return csv_reader.read_table(path, _COLUMNS)
