"""What the stages of one run share."""

import dataclasses
import functools
import gc
import time
from collections.abc import Callable, Mapping
from types import ModuleType

from benchmarks.on_gpu.cases import Case, Sizes
from benchmarks.on_gpu.table import Budget, Table
from benchmarks.on_gpu.timing import SAMPLES, Peer, attempt, medians

GOAL_X_TORCH, GOAL_CEILING = 1.5, 0.4  # of a training step in bf16
# JAX counts a little more than it uses, and both keep a little room for what cannot be planned.
_HOPELESS = 1.2


@dataclasses.dataclass
class Session:
    """Of one run.

    Attributes:
      sizes: how large everything is.
      table: of the results.
      budget: of time.
      torch: `benchmarks.on_gpu.in_torch`; None where there is no PyTorch.
      peers: of PyTorch, 'eager' and 'compile'.
      limit_gib: memory of each library; None where it is not bounded.
      ceilings: TFLOP/s by dtype, from the stage `ceiling`.
    """

    sizes: Sizes
    table: Table
    budget: Budget
    torch: ModuleType | None
    peers: tuple[str, ...]
    limit_gib: float | None = None
    ceilings: dict[str, float] = dataclasses.field(default_factory=dict)
    _memory: dict[tuple[str, ...], dict[int, float]] = dataclasses.field(default_factory=dict)
    _took: dict[tuple[str, str], float] = dataclasses.field(default_factory=dict)

    def timed(
        self,
        stage: str,
        case: str,
        dtype: str,
        batch: int,
        makers: Mapping[str, Callable[[], Peer]],
        flops: float = 0.0,
        unit: str = "examples/s",
        amount: float | None = None,
        samples: int = SAMPLES,
    ) -> dict[str, float]:
        """Makes the peers, has them take turns, adds a row for each; a failure is a row as well.

        Args:
          stage: of the table.
          case: name of the network, or of what else is measured.
          dtype: of the computation, 'bf16', 'tf32' or 'fp32'.
          batch: rows of one turn.
          makers: the peers by name; PyTorch's begin with 'torch'.
          flops: of one turn; 0 where they are not counted.
          unit: of `amount` per second.
          amount: of what one turn does; None for `batch`.
          samples: see `timing.medians`.

        Returns:
          Seconds a turn of those that ran.
        """
        ready: dict[str, Peer] = {}
        wrong: dict[str, str] = {}
        for name, make in makers.items():
            made = self._skip(stage, name, (stage, case, dtype, name), batch) or attempt(make)
            if isinstance(made, str):
                wrong[name] = made
                self.release(of_torch=False)
                continue
            ready[name] = made
            took = made.compile_s or 0.0
            self._took[stage, name] = took
            if made.peak_gib is not None:
                self._memory.setdefault((stage, case, dtype, name), {})[batch] = made.peak_gib
            print(f"... {case} {dtype} {batch}: {name} ready after {took:.1f} s", flush=True)
        seconds = attempt(functools.partial(medians, ready, self.sizes.least_s, samples))
        if isinstance(seconds, str):
            wrong |= dict.fromkeys(ready, seconds)
            seconds = {}
        best = min((s for name, s in seconds.items() if name.startswith("torch")), default=None)
        for name in makers:
            row = {"case": case, "peer": name, "dtype": dtype, "batch": batch}
            if name in wrong:
                self.table.add(stage, **row, note=wrong[name])
                continue
            peer, turn = ready[name], seconds[name]
            tflops = flops / turn / 1e12 if flops else None
            share = tflops / self.ceilings[dtype] if tflops and dtype in self.ceilings else None
            ratio = best / turn if best else None
            self.table.add(
                stage,
                **row,
                ms=1e3 * turn,
                rate=(batch if amount is None else amount) / turn,
                unit=unit,
                x_torch=ratio,
                tflops=tflops,
                ceiling_share=share,
                peak_gib=peer.peak_gib,
                compile_s=peer.compile_s,
                note=peer.note or _goals(stage, name, dtype, ratio, share),
            )
        ready.clear()
        self.release()
        return seconds

    def of_torch(self, make: Callable[[ModuleType, bool], Peer]) -> dict[str, Callable[[], Peer]]:
        """PyTorch's peers: `make` of the module and of whether it is compiled."""
        if self.torch is None:
            return {}
        names = {"eager": "torch eager", "compile": "torch.compile"}
        return {
            names[kind]: functools.partial(make, self.torch, kind == "compile")
            for kind in self.peers
        }

    def release(self, of_torch: bool = True) -> None:
        """Gives memory back that nothing holds any more."""
        gc.collect()
        if of_torch and self.torch is not None:
            self.torch.release()

    def _skip(self, stage: str, name: str, key: tuple[str, ...], batch: int) -> str:
        """Why a peer is not tried; empty if it is."""
        measured = sorted(self._memory.get(key, {}).items())[-2:]
        if len(measured) == 2 and self.limit_gib is not None:
            # A line through the largest two, since weights take the same of any batch.
            (less, of_less), (more, of_more) = measured
            about = of_more + (of_more - of_less) / (more - less) * (batch - more)
            if about > _HOPELESS * self.limit_gib:
                return f"not tried: about {about:.0f} GiB, of {self.limit_gib:.0f}"
        needed = self._took.get((stage, name), 0.0)
        if name == "torch.compile" and self.budget.left() < needed:
            return f"left out: about {needed:.0f} s to compile, {self.budget.left():.0f} left"
        return ""


def _goals(stage: str, name: str, dtype: str, ratio: float | None, share: float | None) -> str:
    if (stage, name, dtype) != ("train", "jax", "bf16"):
        return ""
    said = []
    if ratio is not None:
        said.append(f"{GOAL_X_TORCH} x torch {'met' if ratio >= GOAL_X_TORCH else 'missed'}")
    if share is not None:
        said.append(f"{GOAL_CEILING:.0%} of ceiling {'met' if share >= GOAL_CEILING else 'missed'}")
    return "goals: " + ", ".join(said) if said else ""


def turns_of(call: Callable[[], object], wait: Callable[[object], object]) -> Peer:
    """A peer that calls something over and over; its first call is timed as its compilation."""

    def run(turns: int) -> None:
        last: object = None
        for _ in range(turns):
            last = call()
        wait(last)

    start = time.monotonic()
    run(1)
    return Peer(run, time.monotonic() - start)


def named(case: Case, dtype: str, batch: int) -> str:
    """A row's name."""
    return f"{case.name} {dtype} {batch}"
