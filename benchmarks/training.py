"""A training step on a CPU beside PyTorch's, in one run: both networks, paper's width and small.

    python -m benchmarks.training [--cases=senet,senet:lidc] [--repeats=7] [--peers=eager,compile]

The same networks, from `benchmarks.pytorch_networks`, on the same random crops: forward,
cross-entropy, backward and AdamW, in float32. Ours is timed twice, as the network alone and as the
whole step of a training with its augmentation; PyTorch's is the network alone, in the layout that
is fastest there (channels_last_3d), eagerly and compiled. They take turns, each in a process of its
own, since PyTorch's threads go on turning for a while and would take a core from what comes next. A
turn is several steps one after another, as in a training, behind one that is not timed: after a
pause the threads of both sleep, and the first step alone takes up to twice as long.
Memory is the most that a process takes in its turns, above what it took with the libraries loaded
and before the network was made; what compiling took is not in it. Where PyTorch is not installed
there is no peer.
"""

import argparse
import importlib.util
import math
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from benchmarks import noise_step, turns
from dtc_jax.tasks import classification, segmentation
from dtc_jax.training import parallel

Step = Callable[[], Any]
# Config -> examples a step. Of the two networks of 'senet:lidc' it is the near one.
_CASES = {"senet:demo": 16, "senet:lidc": 16, "senet": 2, "vnet:demo": 8, "vnet": 2}
_PAUSE_S = 0.3  # between turns: the other's threads come to rest
_TURN_S = 0.5  # of steps in a turn, at least


def main() -> None:
    """Prints a row for each step: its medians, its memory, and PyTorch's best time by its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(_CASES))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peers", default="eager,compile")
    flags = parser.parse_args()
    cases, peers = flags.cases.split(","), [peer for peer in flags.peers.split(",") if peer]
    if wrong := set(cases) - _CASES.keys():
        parser.error(f"--cases: there is no {min(wrong)!r}; choose from {', '.join(_CASES)}.")
    if wrong := set(peers) - {"eager", "compile"}:
        parser.error(f"--peers: there is no {min(wrong)!r}; choose from eager, compile.")
    os.environ["JAX_PLATFORMS"] = "cpu"  # of the processes; on a GPU: benchmarks.accelerator
    kinds = ["the network", "with augmentation"]
    if not turns.lacking("torch"):
        kinds += [f"PyTorch, {peer}" for peer in peers]
    print(f"{turns.machine(*(['torch'] if peers else []))}; medians of {flags.repeats}\n")
    titles = ["network", "batch", "step", "first call, s", "s", "CPU s", "memory, MiB", "ratio"]
    print(f"| {' | '.join(titles)} |\n" + "|---" * len(titles) + "|")
    for case in cases:
        _compare(case, kinds, flags.repeats)


def _compare(case: str, kinds: list[str], repeats: int) -> None:
    steps_ = {kind: _Elsewhere(case, kind) for kind in kinds}
    medians = turns.in_turns(dict(steps_.items()), repeats)
    best = min((m.wall for kind, m in medians.items() if "PyTorch" in kind), default=np.nan)
    for kind, median in medians.items():
        print(
            f"| {case} | {_CASES[case]} | {kind} | {steps_[kind].first:.1f} |"
            f" {median.wall:.3f} | {median.cpu:.3f} | {steps_[kind].peak / 2**20:.0f} |"
            f" {best / median.wall:.2f} |",
            flush=True,
        )
        steps_[kind].stop()


class _Elsewhere:
    """A step in a process of its own; calling it says how long one took there, of a turn.

    Attributes:
      first: seconds of the first call.
      peak: bytes of memory in the turns so far.
    """

    def __init__(self, case: str, kind: str):
        self._here, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_serve, args=(there, case, kind), daemon=True)
        self._process.start()
        there.close()
        self.first: float = self._here.recv()
        self.peak = 0

    def __call__(self) -> turns.Seconds:
        time.sleep(_PAUSE_S)
        self._here.send(True)
        seconds, self.peak = self._here.recv()
        return turns.Seconds(*seconds)

    def stop(self) -> None:
        self._here.send(False)
        self._process.join()


def _serve(connection: Connection, case: str, kind: str) -> None:
    config, rows = noise_step.config_of(case).unlock(), _CASES[case]
    if config.candidates:
        config.update(dict(config.candidates.near))
        config.loss.auxiliary = {}
    if kind.startswith("PyTorch"):
        importlib.import_module("benchmarks.pytorch_networks")
    memory, start = turns.Memory(), time.monotonic()
    if kind == "the network":
        call = _network(config, rows)
    elif kind == "with augmentation":
        call = training_step(config, rows)
    else:
        call = _peer(config, rows, kind.removeprefix("PyTorch, "))
    call()
    connection.send(time.monotonic() - start)
    memory.forget()
    steps = math.ceil(_TURN_S / turns.timed(call).wall)
    while connection.recv():
        call()
        whole = turns.timed(lambda: [call() for _ in range(steps)])
        connection.send(((whole.wall / steps, whole.cpu / steps), memory.peak()))


def _crops(config: ml_collections.ConfigDict, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """What the network sees, [B, D, H, W, C], and what it is to say: [B] or [B, D, H, W]."""
    rng = np.random.default_rng(0)
    channels = 2 if config.preprocess.get("mask") == "channel" else 1
    sides = [round(mm / config.preprocess.spacing_mm) for mm in config.preprocess.crop_mm]
    x = rng.random((rows, *sides, channels), np.float32)
    shape = x.shape[:-1] if config.task == "segmentation" else (rows,)
    return x, (rng.random(shape) > 0.5).astype(np.float32)


def _network(config: ml_collections.ConfigDict, rows: int) -> Step:
    """Forward, cross-entropy, backward and AdamW."""
    task = segmentation if config.task == "segmentation" else classification
    network = task.make_network(config)
    x, target = map(jnp.asarray, _crops(config, rows))
    adam = optax.adamw(1e-3)
    init = jax.jit(lambda x: network.init(jax.random.key(0), x, train=False))
    variables = init(x)
    params, stats = variables["params"], variables["batch_stats"]
    keys = {"keys": jax.random.split(jax.random.key(1), rows)}  # of dropout
    seen_by = {} if config.task == "segmentation" else keys

    def step(params: Any, stats: Any, moments: Any) -> Any:
        def loss(params: Any) -> tuple[jax.Array, Any]:
            seen = {"params": params, "batch_stats": stats}
            logits, new = network.apply(seen, x, train=True, mutable=["batch_stats"], **seen_by)
            return optax.sigmoid_binary_cross_entropy(logits, target).mean(), new["batch_stats"]

        grads, stats_ = jax.grad(loss, has_aux=True)(params)
        updates, moments = adam.update(grads, moments, params)
        return optax.apply_updates(params, updates), stats_, moments

    compiled = jax.jit(step, donate_argnums=(0, 1, 2), compiler_options=parallel.KEEP_BARRIERS)
    held = [params, stats, adam.init(params)]

    def call() -> None:
        held[:] = jax.block_until_ready(compiled(*held))

    return call


def training_step(config: ml_collections.ConfigDict, rows: int) -> Step:
    """The step of a training, from stored records: augmentation, loss, the figures of a row.

    Args:
      config: of the training.
      rows: of the batch, which is on the devices.

    Returns:
      Makes a step and waits for it; compiled.
    """
    config.train.batch_size = rows
    step = noise_step.Step(config)
    run, batch = step.lowered.compile(), step.placed(step.batch())
    held = [step.state()]

    def call() -> None:
        held[0], figures = run(held[0], batch)
        jax.block_until_ready(figures)

    return call


def _peer(config: ml_collections.ConfigDict, rows: int, kind: str) -> Step:
    """The same in PyTorch; `kind` is 'eager' or 'compile'."""
    import torch

    from benchmarks import pytorch_networks

    x, target = (torch.from_numpy(array) for array in _crops(config, rows))
    x = torch.movedim(x, -1, 1).contiguous(memory_format=torch.channels_last_3d)
    network = pytorch_networks.make(config, x.shape[1]).to(memory_format=torch.channels_last_3d)
    adam = torch.optim.AdamW(network.parameters(), lr=1e-3)
    forward = torch.compile(network) if kind == "compile" else network

    def call() -> None:
        adam.zero_grad()
        logits = forward(x)
        torch.nn.functional.binary_cross_entropy_with_logits(logits, target).backward()
        adam.step()

    return call


if __name__ == "__main__":
    main()
