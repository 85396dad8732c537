"""A training set on the devices gives the batches, and the training, that the host gives."""

import json

import jax
import numpy as np
import pandas as pd
import pytest

from configs import vnet
from dtc_jax.errors import InputError, Stopped, UsageError
from dtc_jax.experiment import checks
from dtc_jax.runs import train
from dtc_jax.training import batches, checkpoint, parallel, resident, state, steps

WAYS = [("jit", 2, 1), ("pmap", 8, 2)]  # devices, and parts of a batch
MORE_WAYS = [("jit", 1, 2), ("jit", 8, 2), ("pmap", 1, 2), ("pmap", 2, 1)]
SIDES = (2, 3, 4)


def _joined(one, other):
    return {name: np.concatenate([one[name], other[name]]) for name in one}


def _compiled(tiny, kind, count, accumulate):
    how = parallel.make(kind, jax.devices()[:count])
    step = steps.make_train_step(
        tiny.task, tiny.optimizer, seed=3, ema_decay=0.9, accumulate=accumulate
    )
    first = jax.jit(lambda: state.create(tiny.task, tiny.optimizer, seed=3, ema=True))()
    return how, how.compile_train(lambda: step), how.place(jax.device_get(first))


def _trained(tiny, train_batches, kind, count, accumulate):
    """State and metrics of four steps of sixteen rows, over the end of an epoch."""
    how, step, now = _compiled(tiny, kind, count, accumulate)
    kept = resident.placed(train_batches, how, lambda line: None)
    history = []
    with jax.transfer_guard("disallow"):
        for _ in range(4):
            batch = _joined(next(train_batches), next(train_batches))
            now, metrics = step(now, how.shard(batch) | kept)
            history.append(metrics)
        return how.fetch((now, history))


@pytest.mark.parametrize(
    ("kind", "count", "accumulate"),
    [*WAYS, *(pytest.param(*way, marks=pytest.mark.extras) for way in MORE_WAYS)],
)
def test_every_way_to_run_gives_the_same_bits(tiny, kind, count, accumulate):
    got = _trained(tiny, tiny.kept(tiny.TrainRows()), kind, count, accumulate)
    wanted = _trained(tiny, tiny.TrainBatches(), kind, count, accumulate)
    jax.tree.map(np.testing.assert_array_equal, got, wanted)


def test_the_set_is_an_argument_of_the_step_whose_devices_take_their_own_rows(tiny):
    found = {}
    for name, train_batches in (
        ("host", tiny.TrainBatches()),
        ("device", tiny.kept(tiny.TrainRows())),
    ):
        how, step, now = _compiled(tiny, "jit", 8, 1)
        kept = resident.placed(train_batches, how, lambda line: None)
        lowered = step.lower(now, how.shard(next(train_batches)) | kept)
        assert "x8x8x8xi16> {" in lowered.as_text()
        assert not any("dense" in line for line in lowered.as_text().splitlines() if "i16" in line)
        text = lowered.compile().as_text()
        found[name] = [text.count(f" {kind}(") for kind in ("all-reduce", "all-gather")]
    assert found["device"] == found["host"]


class Stored:
    """Thirteen records, the one at i filled with i, and how many were read."""

    def __init__(self):
        self.read = 0

    def __len__(self):
        return 13

    def __getitem__(self, i):
        self.read += 1
        return {
            "image": np.full(SIDES, i, np.int16),
            "mask": np.full(SIDES, i % 2, np.uint8),
            "extent": np.tile(np.array([0, 2], np.int32), (3, 1)),
        }


@pytest.fixture
def view():
    positions = np.array([12, 0, 3, 5, 7, 8, 9, 10])
    weights = np.linspace(0.5, 2, len(positions)).astype(np.float32)
    targets = np.where(positions[:, None] > 4, positions[:, None] / [1.0, 3.0], np.nan)
    return batches.View(positions, (positions % 2).astype(np.float32), weights, targets)


def _made(view, on_device, records=None, rank=(0, 1)):
    return resident.train_batches(records or Stored(), view, 4, 3, 2, rank, on_device=on_device)


@pytest.mark.parametrize("count", [1, 2])
def test_the_rows_are_those_of_the_hosts_batches_for_each_process(view, count):
    how = parallel.make("jit", jax.devices()[:1])
    for number in range(count):
        rank = (number, count)
        kept, host = _made(view, "always", rank=rank), _made(view, "never", rank=rank)
        whole = resident.placed(kept, how, lambda line: None)
        for _ in range(5):  # of two batches an epoch
            batch, wanted = next(kept), next(host)
            assert {name: x.dtype for name, x in batch.items()} == {"row": np.int32}
            np.testing.assert_array_equal(resident.index(kept, batch), wanted["index"])
            got = steps.gathered(how.shard(batch) | whole)
            assert got.keys() == wanted.keys()
            for name in wanted:
                assert got[name].dtype == wanted[name].dtype
                np.testing.assert_array_equal(got[name], wanted[name])


@pytest.mark.parametrize("first", ["always", "never"])
def test_either_goes_on_where_the_other_stopped(view, first):
    second = "never" if first == "always" else "always"
    one, other = _made(view, first), _made(view, second)
    for _ in range(3):
        next(one)
    other.set_state(json.loads(json.dumps(one.get_state())))
    for _ in range(4):
        numbers = [resident.index(made, next(made)).tolist() for made in (one, other)]
        assert numbers[0] == numbers[1]


@pytest.mark.parametrize(
    ("on_device", "platform", "most", "kept"),
    [
        ("auto", "cpu", 10**9, False),
        ("auto", "gpu", 10**9, True),
        ("auto", "gpu", 8 * 120, True),  # image, mask, extent, two targets and four numbers
        ("auto", "gpu", 8 * 120 - 1, False),
        ("always", "cpu", 0, True),
        ("never", "gpu", 10**9, False),
    ],
)
def test_auto_keeps_a_small_set_on_an_accelerator(
    view, monkeypatch, on_device, platform, most, kept
):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    monkeypatch.setattr(resident, "MOST_BYTES", most)
    records = Stored()
    made = _made(view, on_device, records)
    assert isinstance(made, resident.Resident) == kept
    assert records.read <= 1  # the size is known from the first


def test_a_set_that_does_not_fit_is_refused_by_name(view, monkeypatch):
    def none_left(*shape):
        raise MemoryError

    made = _made(view, "always")
    monkeypatch.setattr(np, "empty", none_left)
    with pytest.raises(InputError, match=r"training set \(8 examples.*on_device to 'never'"):
        resident.placed(made, parallel.make("jit"), lambda line: None)


@pytest.mark.extras
@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_a_run_that_is_stopped_twice_changes_between_the_two(tiny, tmp_path, capsys, kind):
    wanted = tiny.fit(tmp_path / "host", tiny.TrainBatches(), parallel=kind)
    assert "is kept" not in capsys.readouterr().err
    with pytest.raises(Stopped, match="after step 4 of 12"):
        tiny.fit(tmp_path / "run", tiny.kept(tiny.TrainRows(signal_at=3)), parallel=kind)
    with pytest.raises(Stopped, match="after step 8 of 12"):
        tiny.fit(tmp_path / "run", tiny.TrainBatches(signal_at=7), parallel=kind)
    capsys.readouterr()
    got = tiny.fit(tmp_path / "run", tiny.kept(tiny.TrainRows()), parallel=kind)
    said = capsys.readouterr().err
    assert said.count("The training set (24 examples, 0.0 MB) is kept on the device.") == 1
    jax.tree.map(np.testing.assert_array_equal, got.params, wanted.params)
    assert got.best_metrics == wanted.best_metrics
    ends = [checkpoint.read_progress(tmp_path / name / "checkpoints") for name in ("host", "run")]
    assert ends[0]["batches"] == ends[1]["batches"]
    rows = [row for row in got.history if "train/loss" in row]
    assert all("train/wait_share" in row for row in rows[-1:])
    assert [row["train/loss"] for row in rows] == [
        row["train/loss"] for row in wanted.history if "train/loss" in row
    ]


def test_a_loss_that_is_not_finite_names_the_examples(tiny, tmp_path):
    made = tiny.kept(tiny.TrainRows())
    made.examples[7]["label"] = np.float32(np.nan)
    with pytest.raises(InputError, match=r"not finite at step [123] of 12.*lesion 7[,:]"):
        tiny.fit(tmp_path, made, name_of="lesion {}".format)


@pytest.mark.extras
def test_a_training_from_files_is_the_same_bit_for_bit(classifier, tmp_path):
    config = classifier.config.copy_and_resolve_references()
    config.data.on_device = "always"
    train.run(config, tmp_path / "run")
    homes = (tmp_path / "run", classifier.workdir)
    last = [checkpoint.steps(home / "checkpoints")[-1] for home in homes]
    assert last[0] == last[1]
    models = [checkpoint.read_model(home / "checkpoints", last[0]) for home in homes]
    for field in ("params", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, *(getattr(m, field) for m in models))
    tables = [pd.read_csv(home / "predictions.csv") for home in homes]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_a_value_that_is_none_and_hard_negatives_are_refused_by_name():
    config = vnet.get_config("chests").unlock()
    config.train.batch_size = config.predict.batch_size = 8
    config.data.on_device = "allways"
    with pytest.raises(UsageError, match=r"config\.data\.on_device.*Did you mean 'always'"):
        checks.check(config)
    config.data.on_device = "always"
    config.train.hard_negatives.rounds = 1
    with pytest.raises(UsageError, match=r"config\.data\.on_device is 'always', but .*'auto'"):
        checks.check(config)
