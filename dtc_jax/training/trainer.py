"""The state of a training on the host and its moves: a step, an evaluation, a checkpoint, a row."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from dtc_jax import progress as progress_lib
from dtc_jax.errors import InputError, Stopped
from dtc_jax.training import (
    checkpoint,
    damage,
    hosts,
    interrupt,
    logs,
    pace,
    predictions,
    profiling,
    programs,
    resident,
    result,
)
from dtc_jax.training import parallel as parallel_lib
from dtc_jax.training import state as state_lib
from dtc_jax.training.plan import Plan, Watch
from dtc_jax.training.result import Evaluated, Initial
from dtc_jax.training.task import Batch, Task, TrainBatches


@dataclasses.dataclass
class Trainer:
    """A training; the first fields are arguments of `loop.fit`."""

    task: Task
    train_batches: TrainBatches
    validation_batches: Callable[[], Iterator[Batch]] | None
    plan: Plan
    watch: Watch
    parallel: parallel_lib.Parallel
    profile: profiling.Profile = dataclasses.field(init=False)
    clock: pace.Pace = dataclasses.field(default_factory=pace.Pace)
    recent: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        schedule = self.watch.learning_rate
        self._learning_rate = jax.jit(schedule) if schedule else None

    def start(
        self,
        checkpoints: checkpoint.Checkpoints,
        make_optimizer: programs.MakeOptimizer,
        initial: Initial | None,
    ) -> None:
        """Restores the newest checkpoint or makes the first state, and gets the programs."""
        plan = self.plan
        compiled = programs.training(
            self.task, make_optimizer, plan.ema_decay, plan.accumulate, self.parallel
        )
        numbers = {"seed": np.int32(plan.seed), "total_steps": np.int32(plan.total_steps)}
        self.progress = result.Progress()
        self.shapes = compiled.first_state.eval_shape(**numbers)
        restored = checkpoints.restore(self.shapes)
        if restored is None:
            state = jax.tree.map(np.array, jax.device_get(compiled.first_state(**numbers)))
            if initial is not None:
                state = state_lib.started_from(state, *initial(state.params, state.batch_stats))
        else:
            state, progress = restored
            self.progress = result.Progress(**progress)
        if self.progress.best_step not in checkpoints.steps():  # lost with a damaged checkpoint
            self.progress.best_step, self.progress.evaluated_step = None, 0
            self.progress.since_best, self.progress.is_ended = 0, False
        self.step = int(state.step)
        hosts.agree(lambda: f"{self.step} {damage.hash_of(state)}", "first state or checkpoint")
        self.saved = self._mark()
        if self.finished:
            return
        if restored is not None:
            self.train_batches.set_state(self.progress.batches)
        self.state, self.numbers = self.parallel.place((state, numbers))
        self.running: list[Any] = []  # metrics of steps since the last row, still on the devices
        self.train_step = compiled.train_step
        self.predict_step = programs.prediction(self.task, self.parallel)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: not a step, and not the evaluation of the last one."""
        at_last = self.step >= self.plan.last_step and not self._evaluation_is_due()
        return self._ended_early or at_last

    @property
    def _ended_early(self) -> bool:
        return self.progress.is_ended or 0 < self.plan.patience <= self.progress.since_best

    def _unfinished(self) -> str:
        """See `Progress`; the step at which hard negatives are collected is not the end."""
        total = self.plan.total_steps
        if self.finished and (self._ended_early or self.step >= total):
            return ""
        return f"step {self.step} of {total}"

    def _mark(self) -> tuple[int, int, str]:
        """What differs between two checkpoints."""
        return self.step, self.progress.evaluated_step, self.progress.unfinished

    def _evaluation_is_due(self) -> bool:
        if self.plan.total_steps == 0:  # the weights it starts from are those of the run
            return self.progress.best_step is None
        at_one = self.step % self.plan.evaluate_every == 0 or self.step >= self.plan.last_step
        return at_one and self.progress.evaluated_step < self.step

    def train(
        self, checkpoints: checkpoint.Checkpoints, log: logs.Log, stop: interrupt.Interrupt
    ) -> None:
        """Runs to the end or to a signal; what it has done by then is safely on the disk."""
        agreement = hosts.Agreement(self.parallel.mesh)
        self.kept: Batch = {}
        if self.step < self.plan.last_step:
            self.kept = resident.placed(self.train_batches, self.parallel, log.say)
        with jax.transfer_guard("disallow"):
            while True:
                if self.step % self.plan.log_every == 0 or self.step == self.plan.total_steps:
                    self._log(checkpoints, log)
                must_save = self._evaluation_is_due() and self._evaluate(checkpoints, log, stop)
                asked = agreement.ask(bool(stop))
                last = asked or self.finished
                if last or must_save or self.step % self.plan.checkpoint_every == 0:
                    self._save(checkpoints, log)
                if last:
                    checkpoints.wait()
                    break
                self._train_step(log)
        if asked:  # in the last step as well: what comes next takes long, too
            name = stop.name or "a signal to another process"
            raise Stopped(
                f"Stopped by {name} after step {self.step} of {self.plan.total_steps}; everything "
                "is saved. Run the same command again to go on from here."
            )

    def _train_step(self, log: logs.Log) -> None:
        start = time.monotonic()
        batch = next(self.train_batches)
        waited = time.monotonic() - start if _are_done(self.running[-1:]) else 0.0
        with self.profile.step(self.step + 1) as is_traced:
            placed = self.parallel.shard(batch) | self.kept
            self.state, metrics = self.train_step(self.state, placed, self.numbers)
            if is_traced or self.clock.is_measuring:  # to its end
                jax.block_until_ready(metrics)
        self.running.append(metrics)
        if len(self.running) > 2:  # or the host would queue batches without end, deaf to signals
            jax.block_until_ready(self.running[-3])
        was_measuring = self.clock.is_measuring
        examples = parallel_lib.rows_of(batch) * hosts.count()
        self.clock.add(time.monotonic() - start, examples, waited)
        self.step += 1
        self.recent[self.step] = resident.index(self.train_batches, batch)
        log.advance(self.step)
        left = self.plan.last_step - self.step
        if was_measuring and not self.clock.is_measuring and left > 0:
            seconds = self.clock.step_seconds()
            all_left = progress_lib.duration(left * seconds)
            log.say(
                f"A step takes {seconds:.2g} s here, so the {left} steps left need {all_left}, "
                "plus the evaluations."
            )

    def _add_up(self) -> None:
        """Fetches the metrics of the steps since the last row."""
        for metrics in self.parallel.fetch(self.running):
            for name, (total, count) in metrics.items():
                sums = self.progress.sums.setdefault(name, [0.0, 0.0])
                sums[0] += float(total)
                sums[1] += float(count)
        self.running = []

    def _log(self, checkpoints: checkpoint.Checkpoints, log: logs.Log) -> None:
        start = time.monotonic()
        self._add_up()
        self.clock.add(time.monotonic() - start)
        self._check_finite(checkpoints)
        sums = self.progress.sums
        if sums:
            means = {k: total / count if count else math.nan for k, (total, count) in sums.items()}
            row = {**means, **self._rate(self.step), **self.clock.take()}
            log.write(self.step, "train", {**row, "peak_memory": pace.peak_memory()})
        self.progress.sums = {}

    def _rate(self, step: int) -> dict[str, float]:
        """The learning rate of a step; an optimizer counts from 0."""
        if self._learning_rate is None:
            return {}
        last = jax.device_put(np.int32(step - 1))
        return {"learning_rate": float(jax.device_get(self._learning_rate(last)))}

    def _check_finite(self, checkpoints: checkpoint.Checkpoints) -> None:
        bad = int(self.parallel.fetch(self.state.first_bad_step))
        if bad != state_lib.NEVER:
            kept = checkpoints.steps()
            rate = self._rate(bad).get("learning_rate")
            names = ", ".join(self.watch.name_of(int(i)) for i in self.recent.get(bad, ()))
            raise InputError(
                f"The loss or its gradient was not finite at step {bad} of {self.plan.total_steps}"
                f"{f', at a learning rate of {rate:.3g}' if rate is not None else ''}. Its batch "
                f"was {names}: look at them first. Otherwise lower config.optimizer.learning_rate, "
                "lengthen its warm-up or set config.optimizer.clip_norm, and train in a new "
                "workdir. The last good checkpoint "
                f"({f'step {kept[-1]}' if kept else 'none yet'}) is kept in {checkpoints.folder}."
            )
        self.recent = {}

    def _evaluate(
        self, checkpoints: checkpoint.Checkpoints, log: logs.Log, stop: interrupt.Interrupt
    ) -> bool:
        """Evaluates unless a signal comes in between; returns whether the state must be saved."""
        self._check_finite(checkpoints)
        if self.validation_batches is None:
            self.progress.evaluated_step = self.progress.best_step = self.step
            return True
        predicted = predictions.predict_placed(
            self.parallel,
            self.predict_step,
            self.state.evaluated_params,
            self.state.batch_stats,
            self.validation_batches(),
            stop if hosts.count() == 1 else None,
        )
        if predicted is None:
            return False
        metrics = {name: float(v) for name, v in self.task.summarize(predicted).items()}
        value = metrics[self.task.monitor]
        if not math.isfinite(value):
            raise InputError(
                f"validation/{self.task.monitor} is {value} at step {self.step}, so it cannot be "
                "compared. Validation needs cases of both classes."
            )
        progress = self.progress
        log.write(self.step, "validation", metrics)
        progress.evaluated_step = self.step
        best = progress.best_metrics[self.task.monitor] if progress.best_step else None
        is_better = self.task.is_better(value, best)
        progress.since_best = 0 if is_better else progress.since_best + 1
        if is_better:
            progress.best_step, progress.best_metrics = self.step, metrics
        if self.watch.on_evaluation is not None:
            report = Evaluated(self.step, self.plan.total_steps, metrics, is_better)
            progress.is_ended = bool(self.watch.on_evaluation(report))
        return is_better or progress.is_ended

    def _save(self, checkpoints: checkpoint.Checkpoints, log: logs.Log) -> None:
        progress = self.progress
        progress.unfinished = self._unfinished()
        if self.saved == self._mark() and checkpoints.steps():
            return
        self._add_up()
        self._check_finite(checkpoints)
        progress.rows, progress.seconds = log.rows, log.seconds
        progress.batches = self.train_batches.get_state()
        state = self.parallel.to_save(self.state)
        checkpoints.save(state, dataclasses.asdict(progress), progress.best_step)
        self.saved = self._mark()


def _are_done(metrics: list[Any]) -> bool:
    """Whether the devices have computed all of it."""
    return all(x.is_ready() for x in jax.tree.leaves(metrics))
