"""Trainings of the same task share their programs, and nothing else."""

import dataclasses

import jax
import numpy as np

from dtc_jax.training import parallel, predictions, programs


def test_trainings_of_one_task_and_optimizer_trace_their_programs_once(tiny, tmp_path):
    traced = {"init": 0, "loss": 0, "predict": 0}

    def counted(name):
        function = getattr(tiny.task, name)

        def counting(*arguments):
            traced[name] += 1
            return function(*arguments)

        return counting

    task = dataclasses.replace(tiny.task, **{name: counted(name) for name in traced})
    same = {"task": task, "make_optimizer": lambda total_steps: tiny.optimizer}
    first = tiny.fit(tmp_path / "first", seed=5, total_steps=4, **same)
    of_one = dict(traced)
    assert of_one == {"init": 1, "loss": 1, "predict": 1}
    second = tiny.fit(tmp_path / "second", seed=6, total_steps=8, **same)
    predictions.predict(
        task, first.params, first.batch_stats, tiny.validation_batches(), devices=jax.devices()[:1]
    )
    assert traced == of_one
    # Each is what it is alone.
    alone = tiny.fit(tmp_path / "alone", seed=6, total_steps=8)
    jax.tree.map(np.testing.assert_array_equal, second.params, alone.params)
    unlike = jax.tree.map(lambda a, b: bool(np.any(a != b)), first.params, second.params)
    assert any(jax.tree.leaves(unlike))


def test_other_ways_and_settings_have_programs_of_their_own(tiny):
    def of(kind="jit", devices=1, **changes):
        way = parallel.make(kind, jax.devices()[:devices])
        fields = {"ema_decay": 0.0, "accumulate": 1} | changes
        return programs.training(tiny.task, make, parallel=way, **fields)

    def make(total_steps):
        return tiny.optimizer

    assert of() is of()
    others = [of(), of("pmap"), of(devices=2), of(ema_decay=0.9), of(accumulate=2)]
    assert len({id(one.train_step) for one in others}) == len(others)
