"""Forms of the 3-D convolution beside each other, forward and backward, in one run.

    python -m benchmarks.conv3d [--repeats=5] [--torch]

The forms take turns, so that a machine that slows down slows all of them; medians and the ratio to
XLA's native form are printed. With --torch, PyTorch takes its turn as well, in the layout
that is its fastest (channels_last_3d).
"""

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from typing import get_args

import jax
import numpy as np

from benchmarks import turns
from dtc_jax.models import conv
from dtc_jax.training import parallel

# [B, D, H, W, C] and filters: the stages of SE-Net at the paper's width and at width 16.
CASES = (
    ((2, 32, 48, 48, 64), 64),
    ((2, 16, 24, 24, 128), 128),
    ((4, 8, 12, 12, 256), 256),
    ((16, 16, 16, 16, 16), 16),
    ((16, 8, 8, 8, 32), 32),
    ((16, 4, 4, 4, 64), 64),
    ((16, 2, 2, 2, 64), 128),  # a plane smaller than the kernel
)


def main() -> None:
    """Prints a table: shape, form, milliseconds, GFLOP/s, ratio to native."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--torch", action="store_true")
    flags = parser.parse_args()
    if flags.torch and turns.lacking("torch"):
        parser.error("--torch: PyTorch is not installed here; leave the flag out, or install it.")
    print(f"{turns.machine()}; {jax.default_backend()}, forward and backward")
    print(f"medians of {flags.repeats}", flush=True)
    for shape, filters in CASES:
        calls = {form: _jax(shape, filters, form) for form in get_args(conv.Form) if form != "auto"}
        if flags.torch:
            calls["torch"] = _torch(shape, filters)
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(flags.repeats):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        operations = 3 * 2 * 27 * np.prod(shape, dtype=float) * filters
        for name, median in medians.items():
            times = medians["native"] / median
            print(
                f"{shape!s:>24} -> {filters:<4}{name:<10}{1e3 * median:8.1f} ms"
                f"{operations / median / 1e9:8.0f} GFLOP/s{times:7.2f} x native"
            )


def _jax(shape: tuple[int, ...], filters: int, form: conv.Form) -> Callable[[], object]:
    """The compiled call, once run."""
    key = jax.random.key(0)
    x = jax.random.normal(key, shape)
    kernel = jax.random.normal(key, (3, 3, 3, shape[-1], filters))

    def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return (conv.conv3d(x, kernel, 1, form) ** 2).sum()

    options = parallel.KEEP_BARRIERS if jax.default_backend() == "cpu" else None  # as a training
    step = jax.jit(jax.grad(loss, argnums=(0, 1)), compiler_options=options)
    jax.block_until_ready(step(x, kernel))
    return lambda: jax.block_until_ready(step(x, kernel))


def _torch(shape: tuple[int, ...], filters: int) -> Callable[[], object]:
    torch = importlib.import_module("torch")  # no dependency: who asks for the peer has it
    batch, *sides, channels = shape
    x, kernel = (
        torch.randn(sizes).to(memory_format=torch.channels_last_3d).requires_grad_()
        for sizes in ((batch, channels, *sides), (filters, channels, 3, 3, 3))
    )

    def step() -> object:
        y = torch.nn.functional.conv3d(x, kernel, padding=1)
        return torch.autograd.grad((y**2).sum(), (x, kernel))

    step()
    return step


if __name__ == "__main__":
    main()
