"""Memory and time of a training step, with and without `model.remat`.

    python -m benchmarks.remat            both networks, small enough for two CPU cores
    python -m benchmarks.remat --full     at the study's width and crop; needs an accelerator

Memory is what the compiler plans for the step beside its arguments.
"""

import sys
import time

import jax
import numpy as np

from configs import senet, vnet
from dtc_jax.tasks import registry
from dtc_jax.training import optimizer, state, steps

_SMALL = {"senet": {"width": 16}, "vnet": {"widths": (8, 16, 32), "convolutions": (1, 2, 2)}}
_ROWS, _REPEATS = 4, 3


def _batch(size: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(-1000, 400, (_ROWS, *size)).astype(np.int16),
        "mask": np.ones((_ROWS, *size), np.uint8),
        "extent": np.tile(np.array([[0, n] for n in size], np.int32), (_ROWS, 1, 1)),
        "label": np.arange(_ROWS, dtype=np.float32) % 2,
        "weight": np.ones(_ROWS, np.float32),
        "index": np.arange(_ROWS, dtype=np.int32),
        "valid": np.ones(_ROWS, np.float32),
    }


def _measure(name: str, remat: bool, full: bool) -> tuple[float, float]:
    """MiB of a step, and its seconds."""
    config = {"senet": senet, "vnet": vnet}[name].get_config("" if full else "demo").unlock()
    config.model.remat = remat
    if not full:
        config.model.update(_SMALL[name])
    task = registry.of(config).make_task(config)
    adam = optimizer.make_optimizer(config.optimizer, total_steps=10)
    now = jax.jit(lambda: state.create(task, adam, seed=0, ema=False))()
    batch = _batch(tuple(config.data.size_mm))
    step = jax.jit(steps.make_train_step(task, adam, seed=0)).lower(now, batch).compile()
    jax.block_until_ready(step(now, batch))
    start = time.perf_counter()
    for _ in range(_REPEATS):
        jax.block_until_ready(step(now, batch))
    seconds = (time.perf_counter() - start) / _REPEATS
    memory = step.memory_analysis()
    return memory.temp_size_in_bytes / 2**20, seconds


def main() -> None:
    """Prints a row for each network."""
    full = "--full" in sys.argv[1:]
    print(f"{jax.devices()[0].device_kind}, {_ROWS} examples a step")
    print("| network | remat | MiB | s a step |\n|---|---|---|---|")
    for name in ("senet", "vnet"):
        for remat in (False, True):
            memory, seconds = _measure(name, remat, full)
            print(f"| {name} | {'on' if remat else 'off'} | {memory:.0f} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
