"""Memory and time of a training step, with and without `model.remat`.

    python -m benchmarks.remat            both networks, small enough for two CPU cores
    python -m benchmarks.remat --full     as they are configured, at full width and crop
    python -m benchmarks.remat --full --memory    the same, compiled and not run

Memory is what the compiler plans for the step beside its arguments. The steps are timed in turn;
the times are medians of CPU time, of all cores together.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import noise_step

_SMALL = {"senet": {"width": 16}, "vnet": {"widths": (8, 16, 32), "convolutions": (1, 2, 2)}}
_ROWS, _REPEATS = 4, 5


def _step(name: str, remat: bool, full: bool) -> tuple[Callable[[], Any], float]:
    """Runs a training step; and the MiB that it needs."""
    config = noise_step.config_of(name if full else f"{name}:demo").unlock()
    config.model.remat = remat
    config.train.batch_size = _ROWS
    if not full:
        config.model.update(_SMALL[name])
    step = noise_step.Step(config)
    compiled, batch = step.lowered.compile(), step.placed(step.batch())
    memory = compiled.memory_analysis().temp_size_in_bytes / 2**20
    # The state is donated, so each step gets a new one.
    return lambda: jax.block_until_ready(compiled(step.state(), batch)), memory


def main() -> None:
    """Prints a row for each network."""
    full = "--full" in sys.argv[1:]
    print(f"{jax.devices()[0].device_kind}, {_ROWS} examples a step")
    print("| network | remat | MiB | CPU s a step |\n|---|---|---|---|")
    for name in ("senet", "vnet"):
        found = {remat: _step(name, remat, full) for remat in (False, True)}
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(0 if "--memory" in sys.argv[1:] else _REPEATS + 1):
            for remat, (run, _) in found.items():
                start = time.process_time()
                run()
                seconds[remat].append(time.process_time() - start)
        for remat, (_, memory) in found.items():
            middle = f"{np.median(seconds[remat][1:]):.2f}" if seconds[remat] else ""
            print(f"| {name} | {'on' if remat else 'off'} | {memory:.0f} | {middle} |", flush=True)


if __name__ == "__main__":
    main()
