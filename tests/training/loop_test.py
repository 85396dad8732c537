"""A run that is stopped, killed or finished, and called again, ends as if nothing had happened."""

import functools
import shutil
import signal
import time

import jax
import ml_collections
import numpy as np
import pytest

from configs import common
from dtc_jax.errors import InputError, Stopped
from dtc_jax.training import checkpoint, logs, optimizer, parallel, result, state


def _last_state(tiny, workdir, ema=True):
    like = jax.eval_shape(lambda: state.create(tiny.task, tiny.optimizer, seed=0, ema=ema))
    with checkpoint.Checkpoints(workdir / "checkpoints") as checkpoints:
        return checkpoints.restore(like)


def _assert_same_run(tiny, workdir, reference, ema=True):
    """Bit-identical state, the same progress but for the clock, the same rows, once each."""
    (got, progress), (wanted, wanted_progress) = (
        _last_state(tiny, folder, ema) for folder in (workdir, reference)
    )
    jax.tree.map(np.testing.assert_array_equal, got, wanted)
    del progress["seconds"], wanted_progress["seconds"]
    assert progress == wanted_progress
    assert logs.without_clock(workdir) == logs.without_clock(reference)


@pytest.fixture(scope="module")
def uninterrupted(tiny, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uninterrupted")
    return workdir, tiny.fit(workdir)


def test_a_run_learns_and_reports(tiny, uninterrupted):
    workdir, fitted = uninterrupted
    rows = logs.without_clock(workdir)
    assert [(r["step"], "validation/loss" in r) for r in rows] == [
        (3, False), (4, True), (6, False), (8, True), (9, False), (12, False), (12, True),
    ]  # fmt: skip
    assert rows[0]["epoch"] == 1.0
    assert rows[1]["validation/n"] == 10  # the padded rows are left out
    assert rows[-2]["train/loss"] < rows[0]["train/loss"]
    losses = {r["step"]: r["validation/loss"] for r in rows if "validation/loss" in r}
    assert fitted.best_step == min(losses, key=losses.get)
    assert fitted.best_metrics["loss"] == losses[fitted.best_step]
    assert [r["step"] for r in fitted.history] == [r["step"] for r in rows]
    assert list((workdir / "tensorboard").glob("events.out.tfevents.*"))


def test_the_best_network_is_the_average_that_was_evaluated(tiny, uninterrupted):
    workdir, fitted = uninterrupted
    predicted = [tiny.task.predict(fitted.params, fitted.batch_stats, tiny.rows(np.arange(10)))]
    again = tiny.task.summarize(jax.tree.map(np.asarray, predicted))
    assert again["loss"] == pytest.approx(fitted.best_metrics["loss"], rel=1e-5)
    read = result.read_best(workdir)
    jax.tree.map(np.testing.assert_array_equal, read.params, fitted.params)
    assert read.best_step == fitted.best_step


# A signal in the batch of step n + 1: in an epoch, at a log, an evaluation, a save, the last step.
@pytest.mark.parametrize(
    "signal_at", [1, 4, *(pytest.param(step, marks=pytest.mark.extras) for step in (0, 3, 7, 11))]
)
def test_stopped_and_resumed_is_bit_identical(tiny, tmp_path, uninterrupted, signal_at):
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match=rf"after step {signal_at + 1} of 12; .*same command"):
        tiny.fit(tmp_path, tiny.TrainBatches(signal_at=signal_at))
    assert signal.getsignal(signal.SIGTERM) is former
    tiny.fit(tmp_path)
    _assert_same_run(tiny, tmp_path, uninterrupted[0])


def test_interrupted_again_and_again(tiny, tmp_path, uninterrupted):
    for signal_at in (2, 3, 8):
        with pytest.raises(Stopped, match="SIGINT"):
            tiny.fit(tmp_path, tiny.TrainBatches(signal_at=signal_at, number=signal.SIGINT))
    tiny.fit(tmp_path)
    _assert_same_run(tiny, tmp_path, uninterrupted[0])


def test_a_kill_goes_back_to_the_last_checkpoint(tiny, tmp_path, uninterrupted):
    with pytest.raises(KeyError, match="killed"):
        tiny.fit(tmp_path, tiny.TrainBatches(break_at=9))  # rows up to 9, saved at 8
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "tr')  # torn
    tiny.fit(tmp_path)
    _assert_same_run(tiny, tmp_path, uninterrupted[0])


def test_a_clock_that_is_set_back_changes_nothing(tiny, tmp_path, uninterrupted, monkeypatch):
    with pytest.raises(Stopped):
        tiny.fit(tmp_path, tiny.TrainBatches(signal_at=6))
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 10 * 365 * 86400)
    tiny.fit(tmp_path)
    _assert_same_run(tiny, tmp_path, uninterrupted[0])


def test_a_damaged_newest_checkpoint_costs_only_time(tiny, tmp_path, uninterrupted):
    with pytest.raises(Stopped):
        tiny.fit(tmp_path, tiny.TrainBatches(signal_at=9))
    shutil.rmtree(tmp_path / "checkpoints" / "10" / "model")
    tiny.fit(tmp_path)
    _assert_same_run(tiny, tmp_path, uninterrupted[0])


def test_a_signal_during_an_evaluation_neither_loses_nor_repeats_it(tiny, tmp_path, uninterrupted):
    passes = []

    def validation():
        passes.append(len(passes))
        for batch in tiny.validation_batches():
            if len(passes) == 2:
                signal.raise_signal(signal.SIGTERM)
            yield batch

    with pytest.raises(Stopped, match="after step 8"):
        tiny.fit(tmp_path, validation=validation)
    assert [r["step"] for r in logs.without_clock(tmp_path) if "validation/loss" in r] == [4]
    tiny.fit(tmp_path, validation=validation)
    assert len(passes) == 4  # 4, 8 cut off, 8, 12
    _assert_same_run(tiny, tmp_path, uninterrupted[0])


def test_a_finished_run_returns_at_once(tiny, tmp_path, uninterrupted):
    workdir = tmp_path / "copy"
    shutil.copytree(uninterrupted[0], workdir)
    before = (workdir / "metrics.jsonl").read_bytes()

    def untouched():
        raise AssertionError("nothing is left to evaluate")

    again = tiny.fit(workdir, tiny.TrainBatches(break_at=0), validation=untouched)
    jax.tree.map(np.testing.assert_array_equal, again.params, uninterrupted[1].params)
    assert again.best_metrics == uninterrupted[1].best_metrics
    assert (workdir / "metrics.jsonl").read_bytes() == before


def _rising(tiny):
    """Validation that gets worse from the second evaluation on."""
    calls = []

    def summarize(predictions):
        calls.append(predictions)
        return {"loss": [0.5, 0.4, 0.6, 0.4, 0.7, 0.1][len(calls) - 1]}

    fields = {f: getattr(tiny.task, f) for f in ("init", "loss", "predict", "monitor", "mode")}
    return type(tiny.task)(summarize=summarize, **fields)


def test_early_stopping_counts_evaluations_and_survives_a_stop(tiny, tmp_path):
    task = _rising(tiny)
    settings = {"evaluate_every": 2, "patience": 3, "task": task, "ema_decay": 0.0}
    with pytest.raises(Stopped):
        tiny.fit(tmp_path, tiny.TrainBatches(signal_at=6), **settings)
    fitted = tiny.fit(tmp_path, **settings)
    assert (fitted.best_step, fitted.best_metrics) == (4, {"loss": 0.4})  # a tie is not better
    assert fitted.history[-1]["step"] == 10  # three evaluations after step 4
    assert tiny.fit(tmp_path, **settings).best_step == 4


def test_a_loss_that_is_not_finite_names_step_and_remedy(tiny, tmp_path):
    with pytest.raises(InputError, match=r"not finite at step 8 of 12.*learning_rate") as caught:
        tiny.fit(
            tmp_path,
            tiny.TrainBatches(poison_at=7),
            evaluate_every=6,
            log_every=12,
            learning_rate=lambda step: 0.01 * step,
            name_of="lesion {}".format,
        )
    assert "(step 6) is kept" in str(caught.value)
    assert "at a learning rate of 0.07" in str(caught.value)
    batches = tiny.TrainBatches()
    poisoned = [next(batches)["index"] for _ in range(8)][-1]
    assert ", ".join(f"lesion {i}" for i in poisoned) + ": look at them" in str(caught.value)
    kept, _ = _last_state(tiny, tmp_path)
    assert int(kept.step) == 6
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept))


def test_a_monitor_that_is_not_finite_is_refused(tiny, tmp_path):
    fields = {f: getattr(tiny.task, f) for f in ("init", "loss", "predict", "monitor", "mode")}
    task = type(tiny.task)(summarize=lambda predictions: {"loss": float("nan")}, **fields)
    with pytest.raises(InputError, match=r"validation/loss is nan at step 4.*both classes"):
        tiny.fit(tmp_path, task=task)


@pytest.mark.extras
@pytest.mark.parametrize(("parallel", "count"), [("jit", 8), ("pmap", 2)])
def test_resumed_on_many_devices(tiny, tmp_path, uninterrupted, parallel, count):
    settings = {"parallel": parallel, "devices": jax.devices()[:count]}
    with pytest.raises(Stopped):
        tiny.fit(tmp_path, tiny.TrainBatches(signal_at=6), **settings)
    fitted = tiny.fit(tmp_path, **settings)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        fitted.params,
        uninterrupted[1].params,
    )


def test_a_callback_sees_each_evaluation_and_may_end_the_training_for_good(tiny, tmp_path):
    seen = []

    def end(evaluated):
        seen.append(evaluated)
        return evaluated.step >= 8

    fitted = tiny.fit(tmp_path, on_evaluation=end)
    assert [report.step for report in seen] == [4, 8]
    assert all(report.total_steps == 12 for report in seen)
    assert seen[0].is_best
    assert seen[0].metrics["n"] == 10
    assert max(row["step"] for row in fitted.history) == 8
    again = tiny.fit(tmp_path, on_evaluation=end)  # and is not asked again
    assert len(seen) == 2
    assert again.best_step == fitted.best_step


def test_a_callback_that_ends_nothing_changes_nothing(tiny, uninterrupted, tmp_path):
    tiny.fit(tmp_path, on_evaluation=lambda evaluated: False)
    _assert_same_run(tiny, tmp_path, uninterrupted[0])


def test_a_run_starts_from_given_weights_and_resumes_from_its_own(tiny, tmp_path):
    def initial(params, batch_stats):
        return jax.tree.map(np.zeros_like, params), batch_stats

    short = {"evaluate_every": 1, "ema_decay": 0.0}
    tiny.fit(tmp_path, initial=initial, total_steps=1, **short)
    current, _ = _last_state(tiny, tmp_path, ema=False)
    kernel = current.params["Dense_0"]["kernel"]
    np.testing.assert_array_equal(kernel, 0)  # behind a layer of zeros no gradient reaches it

    def never(params, batch_stats):
        raise AssertionError("a resumed run has weights of its own")

    tiny.fit(tmp_path, initial=never, total_steps=2, **short)


@pytest.mark.extras
@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_runs_that_differ_in_seed_and_length_alone_share_a_program(
    tiny, tmp_path, monkeypatch, kind
):
    way, seen = type(parallel.make(kind)), []
    usual = way.compile_train

    def compile_train(self, make):
        compiled = usual(self, make)

        def step(*arguments):
            seen.append(compiled.lower(*arguments).as_text())
            return compiled(*arguments)

        return step

    monkeypatch.setattr(way, "compile_train", compile_train)
    fields = common.optimizer(learning_rate=0.01, warmup_fraction=0.5, weight_decay=0.1)
    make = functools.partial(optimizer.make_optimizer, ml_collections.ConfigDict(fields))
    rates = []
    for seed, total_steps in ((5, 4), (6, 8)):
        fitted = tiny.fit(
            tmp_path / str(seed),
            seed=seed,
            total_steps=total_steps,
            make_optimizer=make,
            log_every=1,
            parallel=kind,
        )
        moved = [row["train/update_norm"] for row in fitted.history if "train/update_norm" in row]
        rates.append(moved[:2])
    assert len(seen) == 12
    assert len(set(seen)) == 1
    # Nothing moves at a rate of 0; the shorter warm-up then rises faster.
    assert rates[0][0] == rates[1][0] == 0
    assert rates[0][1] > 1.5 * rates[1][1] > 0
