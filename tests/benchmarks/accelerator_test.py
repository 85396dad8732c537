"""The measurements for a GPU, rehearsed on the CPU, as where little is installed."""

import csv
import itertools
import pathlib
import subprocess
import sys
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import accelerator
from benchmarks.on_gpu import cases, in_jax, inputs, whole_ct
from benchmarks.on_gpu.session import Session
from benchmarks.on_gpu.table import COLUMNS, Budget, Table
from benchmarks.on_gpu.timing import Peer, attempt, medians
from configs import senet, vnet
from dtc_jax.inference import sliding_window

ROOT = pathlib.Path(__file__).parents[2]
SEGMENTER = cases.TINY.cases[1]
# What a borrowed machine lacks; and the project is not installed on it.
BARE = """
import runpy, sys
from importlib.machinery import PathFinder
LACKING = {"ml_collections", "grain", "tensorflow_datasets"}
LACKING |= {"nibabel", "pydicom", "sklearn", "cc3d"}
LACKING |= {"tqdm", "pandas", "matplotlib", "PIL", "jinja2"}
class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in LACKING else super().find_spec(name, path, target)
sys.meta_path = [one for one in sys.meta_path if "Editable" not in str(one)]
sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
sys.path[0] = "benchmarks"
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def rows_of(path):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def session(tmp_path, seconds=60.0, **values):
    table = Table(tmp_path / "table.csv")
    end = time.monotonic() + seconds
    return Session(cases.TINY, table, Budget(table, end, end, **values), None, ())


def rehearse(stages, case, out):
    flags = ["--tiny", f"--stages={stages}", f"--cases={case}", "--peers=none", f"--out={out}"]
    program = [sys.executable, "-c", BARE, "benchmarks/accelerator.py", *flags]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return rows_of(out)


@pytest.mark.extras
def test_it_runs_with_little_installed_and_writes_its_table(tmp_path):
    out = tmp_path / "table.csv"
    rows = rehearse("ceiling,infer,whole_ct", "vnet", out)
    assert {row["stage"] for row in rows} == {"ceiling", "infer", "whole_ct"}
    assert all(float(row["ms"]) > 0 for row in rows), rows
    assert all(row["ceiling_share"] for row in rows if row["stage"] == "infer")
    assert out.read_text().count("parameters") == 0  # said by the stage `train`


@pytest.mark.extras
def test_the_stages_that_train_run(tmp_path):
    rows = rehearse("train,input,parallel,remat", "senet", tmp_path / "table.csv")
    peers = {(row["stage"], row["peer"]) for row in rows if row["ms"]}
    assert {stage for stage, _ in peers} == {"train", "input", "parallel", "remat"}
    assert {("parallel", "pmap"), ("remat", "remat on"), ("input", "fed by 2 threads")} <= peers
    assert not [row for row in rows if row["note"].startswith(("failed", "left out"))], rows


def test_an_unknown_stage_is_refused():
    program = [sys.executable, "benchmarks/accelerator.py", "--stages=trian"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--stages: there is no 'trian'; choose from ceiling, train" in done.stderr


def test_without_an_accelerator_no_minute_goes_into_networks_of_full_size(tmp_path):
    flags = [f"--out={tmp_path / 'table.csv'}", "--peers=none"]
    program = [sys.executable, "benchmarks/accelerator.py", *flags]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "JAX sees no accelerator" in done.stderr
    assert "--tiny" in done.stderr


def test_a_torch_that_would_run_on_the_cpu_beside_a_gpu_is_left_out(tmp_path, monkeypatch):
    found = types.SimpleNamespace(device=lambda: types.SimpleNamespace(type="cpu"))
    monkeypatch.setattr(accelerator.importlib.util, "find_spec", lambda name: found)
    monkeypatch.setattr(accelerator.importlib, "import_module", lambda name: found)
    table = Table(tmp_path / "table.csv")
    assert accelerator._torch(table, "gpu") is None
    found.prepare = lambda share: 1 / 0
    assert accelerator._torch(table, "cpu") is None
    assert "sees no GPU" in table.said[0]
    assert "ZeroDivisionError" in table.said[1]


def test_what_is_said_between_the_rows_takes_one_line(tmp_path):
    table = Table(tmp_path / "table.csv")
    table.say("two GPUs:\nH200\nH200")
    table.add("train", case="senet", ms=1.0)
    (row,) = rows_of(tmp_path / "table.csv")
    assert row["case"] == "senet"


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("senet", senet.get_config()),
        ("vnet", vnet.get_config()),
        ("vnet:paper", vnet.get_config("paper")),
    ],
)
def test_the_cases_are_those_of_the_configurations(name, config):
    (case,) = cases.only(cases.FULL, [name]).cases
    assert case.task == config.task
    assert case.crop == tuple(config.preprocess.crop_mm)
    assert case.stored == tuple(config.data.size_mm)
    assert case.loss == config.loss.get("name", "")
    for name, value in case.model.items():
        assert value == config.model[name], name
    made, defaults = in_jax.network(case, "tf32"), config.model
    assert all(getattr(made, name) == defaults[name] for name in ("se_ratio", "norm", "remat"))
    for name, value in case.augment.items():
        assert value == config.augment[name], name
    spec = in_jax.preprocess_spec(case)
    assert spec.window == tuple(config.preprocess.window)
    assert spec.antialias == config.preprocess.get("antialias", "none")


def test_operations_are_two_a_multiply_add_of_the_published_classifier():
    case = cases.FULL.cases[0]
    voxels, widths = np.prod(case.crop), [64, 64, 128, 256, 512]
    expected = 27 * 64 * voxels  # the stem
    for i, (inputs_, outputs) in enumerate(itertools.pairwise(widths)):
        projected = inputs_ * outputs if inputs_ != outputs else 0
        each = 27 * (inputs_ + outputs) * outputs + projected
        expected += each * voxels / 8**i + 2 * outputs * outputs // 4
    assert in_jax.forward_flops(case) == 2 * (expected + 512)
    assert in_jax.parameters(case) == 14_509_297


def test_what_fails_is_a_row_and_what_runs_is_another(tmp_path):
    def full():
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory while allocating")

    one = session(tmp_path)
    makers = {"jax": lambda: Peer(lambda turns: None, 0.1), "torch eager": full}
    assert list(one.timed("train", "senet", "bf16", 8, makers)) == ["jax"]
    ran, failed = rows_of(tmp_path / "table.csv")
    assert float(ran["ms"]) > 0
    assert (failed["peer"], failed["ms"], failed["note"]) == ("torch eager", "", "out of memory")
    assert attempt(lambda: 1 / 0) == "failed: ZeroDivisionError: division by zero"


def test_rows_without_time_are_tried_again_and_then_named(tmp_path):
    one = session(tmp_path, seconds=0.0)
    assert not list(one.budget.rows("train", ["a"], str))
    assert rows_of(tmp_path / "table.csv") == []
    one.budget.until += 60
    assert list(one.budget.rows("train", ["a"], str)) == ["a"]
    one.budget.until -= 120
    one.budget.last_chance = True
    assert not list(one.budget.rows("train", ["a", "b"], str))
    (row,) = rows_of(tmp_path / "table.csv")
    assert (row["case"], row["note"].split(":")[0]) == ("b", "left out")
    assert set(row) == set(COLUMNS)


def test_a_batch_is_not_tried_if_the_two_largest_before_it_say_that_it_cannot_fit(tmp_path):
    one = session(tmp_path)
    one.limit_gib = 60.0

    def ran(batch, gib):
        one.timed(
            "train", "senet", "bf16", batch, {"jax": lambda: Peer(lambda turns: None, 0.1, gib)}
        )

    def skipped(batch):
        return one._skip("train", "jax", ("train", "senet", "bf16", "jax"), batch)

    ran(32, 10.0)  # 8 GiB of them are weights
    assert not skipped(512)  # 10 GiB for 32 may be weights, all of them
    ran(128, 16.0)
    ran(8, 8.5)
    assert not skipped(512)  # 40 GiB
    assert not skipped(1024)  # 72 GiB, within the error of the estimate
    assert skipped(1280) == "not tried: about 88 GiB, of 60"


def test_what_lies_ready_is_taken_before_each_sample():
    calls = []
    peer = Peer(calls.append, before=lambda: calls.append("before"), least_turns=5)
    medians({"fed": peer}, least_s=0.0, samples=2)
    assert calls == ["before", 1, "before", 5, "before", 5]


def test_windows_cut_on_the_device_give_what_the_project_gives():
    image = np.random.default_rng(0).integers(-1000, 400, cases.TINY.scan, np.int16)
    spec = sliding_window.SlidingWindow(SEGMENTER.crop, batch=4)
    predict = whole_ct._predict(SEGMENTER, "tf32")
    expected = sliding_window.sliding_window(predict, image, spec, None, whole_ct.DeviceSums)
    found = whole_ct.blended_on_device(predict, image, spec)()
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.extras
def test_a_step_that_gathers_its_records_learns_as_one_that_is_sent_them():
    stored = in_jax.records(SEGMENTER, 4)
    task = in_jax.make_task(SEGMENTER, "tf32", augmented=True)
    params, stats = jax.jit(task.init)(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 2)
    numbers = np.array([3, 1], np.int32)
    sent = {name: values[numbers] for name, values in stored.items()}
    told = {"index": numbers, "whole": jax.tree.map(jnp.asarray, stored)}
    losses = [
        jax.jit(one.loss, static_argnums=4)(params, stats, batch, keys, None).sum
        for one, batch in ((task, sent), (inputs.gathering(task), told))
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_the_reader_stacks_rows_of_the_pool_in_threads():
    pool = [{"image": np.full((2, 2), i, np.int16)} for i in range(5)]
    for threads in (0, 2):
        image = next(inputs.Reader(pool, 4, threads))["image"]
        assert image.shape == (4, 2, 2)
        assert len({int(one.max()) for one in image}) == 4


def test_a_drained_reader_has_nothing_left_that_was_ready():
    reader = inputs.Reader([{"image": np.zeros(2)}] * 2, 1, 2)
    next(reader)
    ready = list(reader._queue)
    assert len(ready) == reader.ahead
    reader.drain()
    assert not set(ready) & set(reader._queue)


@pytest.mark.extras
@pytest.mark.parametrize("case", cases.TINY.cases, ids=lambda case: case.name)
def test_pytorch_has_the_same_network_and_loss(case):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'dtc-jax[test-torch]'")
    import torch

    from benchmarks.on_gpu import in_torch

    assert in_torch.parameters(case) == in_jax.parameters(case)
    batch = in_jax.ready(case, 2)
    x = torch.from_numpy(np.moveaxis(batch["x"], -1, 1).copy())
    shape = in_torch.network(case)(x).shape
    task = in_jax.make_task(case, "tf32", augmented=False)
    variables = jax.jit(task.init)(jax.random.key(0))
    out = jax.jit(task.loss, static_argnums=4)(*variables, batch, None, None)
    net = in_jax.network(case, "tf32")
    logits, _ = jax.jit(lambda v, x: net.apply(v, x, train=True, mutable=["batch_stats"]))(
        {"params": variables[0], "batch_stats": variables[1]}, batch["x"]
    )
    assert logits.shape == tuple(shape)
    target = batch["label" if case.task == "classification" else "target"]
    loss = in_torch.losses(case, torch.from_numpy(np.array(logits)), torch.from_numpy(target))
    np.testing.assert_allclose(float(loss), float(out.sum / out.weight), rtol=1e-5)


@pytest.mark.extras
def test_pytorch_pads_as_jax_does():
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'dtc-jax[test-torch]'")
    from benchmarks.on_gpu import in_torch

    x = np.random.default_rng(0).random((1, 1, 5, 6, 8), np.float32)
    seen = []

    class Network(torch.nn.Module):
        def forward(self, x):
            seen.append(x.numpy())
            return x[:, 0]

    assert in_torch._Padded(Network(), 4)(torch.from_numpy(x)).shape == (1, 5, 6, 8)
    margins = [(0, 0), (0, 0), (0, 3), (0, 2), (0, 0)]
    np.testing.assert_array_equal(seen[0], np.pad(x, margins, mode="symmetric"))
