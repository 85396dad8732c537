"""The stages `ceiling`, `train`, `infer`, `parallel` and `remat`."""

import functools

import jax
import jax.numpy as jnp

from benchmarks.on_gpu import in_jax
from benchmarks.on_gpu.cases import Case
from benchmarks.on_gpu.session import Session, named, turns_of
from benchmarks.on_gpu.timing import Peer

_Row = tuple[Case, str, int]


def ceiling(session: Session) -> None:
    """What matrix products and copies reach, on random numbers, in both libraries.

    All or nothing, since the shares of the ceiling in the other stages need them.
    """
    for _ in session.budget.rows("ceiling", ("matmul, copy",), str):
        for dtype in in_jax.DTYPES:
            _matmul(session, dtype)
        count = session.sizes.copy_mib * 2**18  # float32
        makers = {"jax": functools.partial(_copy_peer, count)}
        if session.torch is not None:
            makers["torch eager"] = functools.partial(session.torch.copy_peer, count)
        session.timed("ceiling", "copy", "fp32", 1, makers, unit="GB/s", amount=8 * count / 1e9)


def _matmul(session: Session, dtype: str) -> None:
    side = session.sizes.matrix
    makers = {"jax": functools.partial(_matmul_peer, side, dtype)}
    if session.torch is not None:
        makers["torch eager"] = functools.partial(session.torch.matmul_peer, side, dtype)
    flops = 2.0 * side**3
    seconds = session.timed(
        "ceiling", f"matmul {side}", dtype, 1, makers, flops, "TFLOP/s", flops / 1e12
    )
    if seconds:
        session.ceilings[dtype] = flops / min(seconds.values()) / 1e12


def _matmul_peer(side: int, dtype: str) -> Peer:
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (side, side), in_jax.DTYPES[dtype]) for key in keys)
    product = jax.jit(jnp.matmul)
    return turns_of(lambda: product(a, b), jax.block_until_ready)


def _copy_peer(count: int) -> Peer:
    x = jax.random.normal(jax.random.key(0), (count,))
    plus_one = jax.jit(lambda x: x + 1)  # reads and writes; a plain copy might be left out
    return turns_of(lambda: plus_one(x), jax.block_until_ready)


def train(session: Session) -> None:
    """Training steps on input that is ready."""
    _check_parameters(session)
    for case, dtype, batch in _rows(session, "train", session.sizes.train_batches):
        makers = {"jax": functools.partial(in_jax.train_peer, case, dtype, batch)}
        arrays = in_jax.ready(case, batch)
        makers |= session.of_torch(
            lambda torch, compiled, case=case, dtype=dtype, arrays=arrays: torch.train_peer(
                case, dtype, arrays, compiled
            )
        )
        flops = 3 * in_jax.forward_flops(case) * batch
        session.timed("train", case.name, dtype, batch, makers, flops)


def infer(session: Session) -> None:
    """Predictions on input that is ready."""
    for case, dtype, batch in _rows(session, "infer", session.sizes.infer_batches):
        makers = {"jax": functools.partial(in_jax.infer_peer, case, dtype, batch)}
        arrays = in_jax.ready(case, batch)
        makers |= session.of_torch(
            lambda torch, compiled, case=case, dtype=dtype, arrays=arrays: torch.infer_peer(
                case, dtype, arrays, compiled
            )
        )
        flops = in_jax.forward_flops(case) * batch
        session.timed("infer", case.name, dtype, batch, makers, flops)


def parallel(session: Session) -> None:
    """The ways to spread a step over devices, on one: what each of them costs by itself."""
    batch = min(session.sizes.train_batches)
    rows = [(case, "bf16", batch) for case in session.sizes.cases[:2]]
    for case, dtype, _ in session.budget.rows("parallel", rows, lambda row: named(*row)):
        makers = {
            kind: functools.partial(in_jax.train_peer, case, dtype, batch, kind=kind)
            for kind in ("jit", "pmap")
        }
        session.timed("parallel", case.name, dtype, batch, makers)


def remat(session: Session) -> None:
    """`model.remat` off and on: time of a step, and the memory that the compiler plans."""
    rows = [(case, "bf16", case.remat_batch) for case in session.sizes.cases]
    for case, dtype, batch in session.budget.rows("remat", rows, lambda row: named(*row)):
        makers = {
            f"remat {'on' if on else 'off'}": functools.partial(
                in_jax.train_peer, case, dtype, batch, on
            )
            for on in (False, True)
        }
        session.timed("remat", case.name, dtype, batch, makers)


def _rows(session: Session, stage: str, batches: tuple[int, ...]):
    """The most telling first: bf16, two batches of the first two networks, one of the others."""
    first, others = session.sizes.cases[:2], session.sizes.cases[2:]
    order: list[tuple[str, tuple[int, ...], tuple[Case, ...]]] = [
        ("bf16", batches[:2], first),
        ("bf16", batches[:1], others),
        ("tf32", batches[:1], first),
        ("bf16", batches[2:], first),
        ("bf16", batches[1:], others),
        ("tf32", batches[:1], others),
        ("tf32", batches[1:], first + others),
    ]
    rows: list[_Row] = [
        (case, dtype, batch) for dtype, some, cases in order for batch in some for case in cases
    ]
    return session.budget.rows(stage, rows, lambda row: named(*row))


def _check_parameters(session: Session) -> None:
    """Says how large the networks are, and whether PyTorch's are the same."""
    for case in session.sizes.cases:
        counts = {"JAX": in_jax.parameters(case)}
        if session.torch is not None:
            counts["PyTorch"] = session.torch.parameters(case)
        same = "" if len(set(counts.values())) == 1 else ": NOT THE SAME NETWORK"
        said = ", ".join(f"{count:,} in {name}" for name, count in counts.items())
        flops = in_jax.forward_flops(case) / 1e9
        text = f"{case.name}: parameters {said}{same}; {flops:.2f} GFLOP a crop and prediction"
        if text not in session.table.said:
            session.table.say(text)
