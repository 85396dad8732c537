"""Asynchronous successive halving: trials that are behind on validation end early.

At each rung, a share 1/n, 1/n², … of the training, a trial is compared with those that reached it
earlier, and ends unless it is among the best 1 in n (Li et al., A System for Massively Parallel
Hyperparameter Tuning, MLSys 2020; the variant that stops trials). The trials of the base always go
on, since the others are compared with them. What a trial reached at a rung is a file in the sweep's
folder, so no process has to know of another one.
"""

import dataclasses
import pathlib

import numpy as np

from dtc_jax import storage
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.errors import InputError, UsageError
from dtc_jax.sweep.plan import Plan
from dtc_jax.tasks import inputs, registry
from dtc_jax.training.result import Evaluated

FOLDER = "rungs"
_SETTINGS = "settings.json"


@dataclasses.dataclass(frozen=True)
class Halving:
    """What `loop.fit` asks at each evaluation of a trial.

    Attributes:
      folder: of the rungs.
      trial: its name.
      keep_one_in: n.
      monitor: metric of validation.
      is_larger_better: of it.
      always: names of the trials that are never ended.
    """

    folder: pathlib.Path
    trial: str
    keep_one_in: int
    monitor: str
    is_larger_better: bool
    always: tuple[str, ...]

    def __call__(self, evaluated: Evaluated) -> bool:
        """Whether the trial ends here."""
        rung = self._rung(evaluated)
        if rung == 0:
            return False
        own = self.folder / f"one-in-{self.keep_one_in**rung}" / f"{self.trial}.json"
        if own.exists():  # it was here before
            return bool(storage.read_json(own)["ended"])
        value = evaluated.metrics[self.monitor]
        sign = 1 if self.is_larger_better else -1
        others = [sign * storage.read_json(path)["value"] for path in own.parent.glob("*.json")]
        least = np.quantile(others, 1 - 1 / self.keep_one_in) if others else -np.inf
        ended = bool(sign * value < least) and self.trial not in self.always
        record = {"value": value, "step": evaluated.step, "ended": ended}
        storage.write_json(own, record)
        return ended

    def _rung(self, evaluated: Evaluated) -> int:
        """k of the share 1/n^k that was reached last; 0 before the first and at the end."""
        rung, step = 0, evaluated.total_steps
        while step >= 1:
            if rung and evaluated.step >= step:
                return rung if evaluated.step < evaluated.total_steps else 0
            rung, step = rung + 1, step // self.keep_one_in
        return 0


def check(plan: Plan) -> None:
    """Refuses a sweep whose trials cannot be compared on validation; writes nothing.

    Raises:
      UsageError: a trial trains several networks, or has another monitor than the others.
    """
    config = plan.trials[0].config
    for trial in plan.trials:
        one = trial.config
        is_cross_validation = make_rule(one.split).is_cross_validation
        if is_cross_validation or one.candidates or inputs.networks(one) > 1:
            raise UsageError(
                f"--asha: trial {trial.name} trains several networks (config.split.folds, "
                "candidates, train.ensemble or train.snapshots), but --asha needs trials that "
                "train one network."
            )
        is_same_loss = config.train.monitor != "loss" or one.loss == config.loss
        if one.train.monitor != config.train.monitor or not is_same_loss:
            raise UsageError(
                f"--asha: trial {trial.name} differs from the first one in config.train.monitor, "
                "or in the loss that is the monitor, so they cannot be compared on validation."
            )


def prepare(folder: pathlib.Path, plan: Plan, keep_one_in: int | None) -> pathlib.Path | None:
    """The folder of the rungs, with their settings; None without halving.

    Args:
      folder: of the sweep.
      plan: of the sweep, which has passed `check`.
      keep_one_in: of the trials at a rung; None for no halving.

    Raises:
      InputError: the sweep was started with another number.
    """
    path = folder / FOLDER / _SETTINGS
    before = storage.read_json(path)["keep_one_in"] if path.exists() else None
    if before != keep_one_in and (path.exists() or (folder / "trials").exists()):
        was = "without --asha" if before is None else f"with --asha={before}"
        raise InputError(f"{folder}: was started {was}; use the same, or choose another --out.")
    if keep_one_in is None:
        return None
    config = plan.trials[0].config
    mode = registry.of(config).monitors[config.train.monitor]
    settings = {
        "keep_one_in": keep_one_in,
        "monitor": config.train.monitor,
        "is_larger_better": mode == "max",
        "always": [trial.name for trial in plan.of_variant(plan.base)],
    }
    storage.write_json(path, settings)
    return path.parent


def of_trial(folder: storage.PathLike, workdir: storage.PathLike) -> Halving:
    """The callback of the trial in `workdir`, by the settings that `prepare` wrote.

    Raises:
      InputError: there are none.
    """
    path = pathlib.Path(folder) / _SETTINGS
    if not path.is_file():
        raise InputError(f"--rungs={folder}: no folder of a sweep with --asha.")
    settings = storage.read_json(path)
    settings["always"] = tuple(settings["always"])
    return Halving(path.parent, pathlib.Path(workdir).name, **settings)


def ended(folder: pathlib.Path) -> list[str]:
    """The trials of the sweep in `folder` that were ended early."""
    paths = sorted((folder / FOLDER).glob("one-in-*/*.json"))
    return sorted({path.stem for path in paths if storage.read_json(path)["ended"]})
