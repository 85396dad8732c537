"""The networks on one GPU beside PyTorch: training, inference, input, whole scans, memory.

    python -m benchmarks.accelerator [--stages=ceiling,train,…] [--minutes=7.5] [--out=FILE.csv]
    python benchmarks/accelerator.py --tiny    a rehearsal on a CPU, in a minute or two

Meant for some minutes on a borrowed machine: it runs in the root of the working tree without
internet access and without the project installed, on JAX, Flax, Optax and SciPy, and leaves out
PyTorch where there is none. Each row is written before the next is measured, so that a run cut off
leaves a table. The stages, the most important first:

  ceiling   matrix products and copies: what the machine gives
  train     training steps by network, dtype and batch, on input that is ready
  infer     the same of predictions
  input     how long a training waits for its crops
  parallel  jit against pmap, on one device
  whole_ct  a scan of 300 x 512 x 512 voxels through V-Net, window by window
  remat     `model.remat` off and on

Each has a share of the minutes. A row begins only if one like the last still fits; what was left
out in the first round is tried again in the time that remains, and else named. Half a minute after
the minutes the run ends, whatever it does.

The peers take turns within a row; times are medians of 5 samples of many steps, waited for. `tf32`
is float32 as GPUs multiply it by default, in both. PyTorch computes bf16 by autocast in training
and with weights in bf16 in inference, channels last, eagerly and by `torch.compile`, and chooses
cuDNN's kernels by trial. TFLOP/s counts convolutions and matrix products, see
`in_jax.forward_flops`; a step counts as three predictions.

Fair is that both have the same networks, losses, updates and inputs, which lie on the device. What
is compiled differs: XLA compiles the whole step, `torch.compile` the network alone, without CUDA
graphs; the loss, clipping and AdamW, a fused one, are eager. So PyTorch's small batches are bound
by the launches of kernels, and say little of its convolutions.

JAX's memory is what the compiler plans, PyTorch's the peak of a step. What is the project's own and
what is rebuilt is said in `benchmarks/on_gpu/in_jax.py`.
"""

import argparse
import faulthandler
import importlib
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

_HERE = pathlib.Path(__file__).resolve().parent
_ROOT = _HERE.parent
_GRACE_S = 30  # after the minutes, for the row that is being measured; then the run ends
_SHARE = 0.45  # of the memory, for each of the libraries
# Stage -> where it is, and its part of the minutes.
_STAGES = {
    "ceiling": ("networks.ceiling", 5),
    "train": ("networks.train", 42),
    "infer": ("networks.infer", 17),
    "input": ("inputs.stage_input", 14),
    "parallel": ("networks.parallel", 5),
    "whole_ct": ("whole_ct.whole_ct", 13),
    "remat": ("networks.remat", 8),
}
_LIBRARIES = ("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "flax", "optax", "numpy")
_LIBRARIES += ("torch", "triton", "monai", "nvidia-cudnn-cu13", "nvidia-cudnn-cu12")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the stages, prints the table and writes it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", default=",".join(_STAGES), help="comma-separated")
    parser.add_argument("--minutes", type=float, default=7.5, help="for everything")
    parser.add_argument("--out", type=pathlib.Path, help="gets the table; .csv or .md")
    parser.add_argument("--peers", default="eager,compile", help="of PyTorch; 'none' for none")
    parser.add_argument("--cases", default="", help="of the networks, such as senet,vnet:paper")
    parser.add_argument("--tiny", action="store_true", help="small enough for a CPU")
    flags = parser.parse_args(argv)
    stages = _chosen(parser, "--stages", flags.stages, list(_STAGES))
    peers = _chosen(parser, "--peers", flags.peers, ["eager", "compile", "none"])
    end = time.monotonic() + 60 * flags.minutes
    faulthandler.dump_traceback_later(60 * flags.minutes + _GRACE_S, exit=True)
    _prepare(flags.tiny)
    session = _session(parser, flags, [one for one in peers if one != "none"], end)
    weights = {stage: _STAGES[stage][1] for stage in stages}
    start, spent = time.monotonic(), 0
    for last_chance in (False, True):
        session.budget.last_chance = last_chance
        for stage in stages:
            spent += weights[stage]
            share = min(1.0, spent / sum(weights.values()))
            session.budget.until = start + share * (end - start)
            module, _, name = _STAGES[stage][0].partition(".")
            try:
                getattr(importlib.import_module(f"benchmarks.on_gpu.{module}"), name)(session)
            except Exception as error:  # the other stages must be measured
                session.table.add(stage, note=f"failed: {type(error).__name__}: {error}"[:300])
    session.table.say(f"{time.monotonic() - start:.0f} s in all")
    faulthandler.cancel_dump_traceback_later()


def _chosen(
    parser: argparse.ArgumentParser, flag: str, given: str, choices: Sequence[str]
) -> list[str]:
    names = [name for name in given.split(",") if name]
    if wrong := [name for name in names if name not in choices]:
        parser.error(f"{flag}: there is no {wrong[0]!r}; choose from {', '.join(choices)}.")
    return names


def _prepare(tiny: bool) -> None:
    """What must be set before JAX is imported, and where imports are looked for."""
    # The folder of a program that is named by its path has modules called as libraries are.
    sys.path[:] = [path for path in sys.path if pathlib.Path(path or ".").resolve() != _HERE]
    if str(_ROOT) not in sys.path:
        sys.path.insert(0, str(_ROOT))
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", str(_SHARE))
    if tiny:  # most of a rehearsal is compilation
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # out of memory, XLA prints all its buffers


def _session(
    parser: argparse.ArgumentParser, flags: argparse.Namespace, peers: list[str], end: float
) -> Any:
    """The table with its header, and everything else that the stages share."""
    cases = importlib.import_module("benchmarks.on_gpu.cases")
    table_lib = importlib.import_module("benchmarks.on_gpu.table")
    session_lib = importlib.import_module("benchmarks.on_gpu.session")
    jax = importlib.import_module("jax")
    sizes = cases.TINY if flags.tiny else cases.FULL
    names = [case.name for case in sizes.cases]
    if flags.cases:
        chosen = _chosen(parser, "--cases", flags.cases, names)
        sizes = cases.only(sizes, chosen)
    table = table_lib.Table(flags.out)
    device = jax.devices()[0]
    table.say(f"{_machine()}; JAX on {device.device_kind}; {_versions()}")
    if device.platform == "cpu" and not flags.tiny:
        parser.error("JAX sees no accelerator, see above; on a CPU there is --tiny, a rehearsal.")
    torch = _torch(table, device.platform) if peers else None
    limit = (device.memory_stats() or {}).get("bytes_limit") if device.platform != "cpu" else None
    return session_lib.Session(
        sizes,
        table,
        table_lib.Budget(table, end, end),
        torch,
        tuple(peers),
        limit / 2**30 if limit else None,
    )


def _torch(table: Any, platform: str) -> Any:
    """The peers in PyTorch; None where they cannot be measured, which the table is told."""
    if importlib.util.find_spec("torch") is None:
        table.say("There is no PyTorch here, so no ratio.")
        return None
    try:
        torch = importlib.import_module("benchmarks.on_gpu.in_torch")
        if torch.device().type == "cpu" and platform != "cpu":
            table.say("PyTorch sees no GPU and is left out: on the CPU it would take all the time.")
            return None
        table.say(f"PyTorch on {torch.prepare(_SHARE)}")
    except Exception as error:  # such as a library of CUDA that does not load beside JAX's
        table.say(f"PyTorch is left out: {type(error).__name__}: {error}"[:300])
        return None
    return torch


def _machine() -> str:
    """CPU, GPU and driver."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    said = [f"{os.cpu_count()} x {names[0] if names else platform.machine()}"]
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        asked = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        said += [f"{asked.stdout.strip()} (driver)"]
    except (OSError, subprocess.SubprocessError):
        said += ["no nvidia-smi"]
    return ", ".join(said)


def _versions() -> str:
    found = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    libraries = [f"{name} {found[name]}" for name in _LIBRARIES if name in found]
    flags = os.environ.get("XLA_FLAGS")
    said = [f"Python {platform.python_version()}", *libraries, *([flags] if flags else [])]
    return ", ".join(said)


if __name__ == "__main__":
    main()
