"""Checkpoints on disk: the two latest and the best, written behind the training. Uses Orbax.

A checkpoint of a step has three items, committed together by one rename:
  model: {params, batch_stats} as evaluated (the moving average where there is one); readable
    without knowing the network or the optimizer;
  trainer: the rest of the `TrainState`;
  progress: JSON, whatever the loop on the host must remember.
Two are kept as the latest so that one that is damaged still leaves a place to go on from.
`progress` has hashes of the other items, too: a bit that has changed on the disk may read well.
"""

import contextlib
import dataclasses
import errno
import logging
import os
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from dtc_jax.errors import InputError
from dtc_jax.storage import PathLike, plain_path
from dtc_jax.training import damage, hosts
from dtc_jax.training.state import TrainState
from dtc_jax.training.task import PyTree

_HASHES = "hashes"  # key in progress
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained network on the host and the step it is from."""

    params: PyTree
    batch_stats: PyTree
    step: int


class Checkpoints:
    """The checkpoints of one run. Use it in a `with` block, or `close` it."""

    def __init__(self, folder: PathLike):
        self.folder = pathlib.Path(folder).absolute()  # Orbax refuses relative paths
        self._policy = _LatestAndBest()
        with _no_space_is_an_input_error(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._manager = _manager(self.folder, self._policy)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
        if hosts.may_wait(kind):  # for the others, to end a write
            self.close()

    def close(self) -> None:
        """Waits for a write in progress and frees the threads behind it."""
        with _no_space_is_an_input_error(self.folder):
            self._manager.close()

    def save(self, state: TrainState, progress: dict[str, Any], best_step: int | None) -> None:
        """Writes a checkpoint of `state` in the background; several processes write one together.

        Args:
          state: of `Parallel.to_save`, in memory that is not written to any more.
          progress: plain JSON values.
          best_step: the checkpoint that must outlive newer ones; None while there is none.

        Raises:
          InputError: no space is left on the disk, now or for the save before.
        """
        step = int(jax.device_get(state.step))
        model = {"params": state.evaluated_params, "batch_stats": state.batch_stats}
        trainer = _trainer(state)
        hashes = {_HASHES: {"model": damage.hash_of(model), "trainer": damage.hash_of(trainer)}}
        # Orbax fetches from devices what several processes write.
        with _no_space_is_an_input_error(self.folder), jax.transfer_guard("allow"):
            self._manager.wait_until_finished()
            if step in self._manager.all_steps():
                self._manager.delete(step)  # the same state, with less progress
            self._policy.best_step = best_step
            self._manager.save(
                step,
                force=True,
                args=ocp.args.Composite(
                    model=ocp.args.StandardSave(model),
                    trainer=ocp.args.StandardSave(trainer),
                    progress=ocp.args.JsonSave(progress | hashes),
                ),
            )

    def wait(self) -> None:
        """Returns once everything saved is safely on the disk.

        Raises:
          InputError: no space is left on the disk.
        """
        with _no_space_is_an_input_error(self.folder):
            self._manager.wait_until_finished()

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, ascending."""
        return sorted(self._manager.all_steps())

    def restore(self, like: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """The newest readable checkpoint as (state on the host, progress); None if there is none.

        Newer ones that cannot be read are removed, once an older one has been read.

        Args:
          like: a state (or its shapes) of the structure to read.

        Raises:
          InputError: none of the checkpoints can be read, or they are of another network.
        """
        failures: list[str] = []
        damaged: list[int] = []
        for step in reversed(self.steps()):
            try:
                state, progress = self._read(step, like)
            except InputError:
                raise
            except Exception as error:  # Orbax raises nearly anything for a damaged file
                failures.append(f"  step {step}: {type(error).__name__}: {str(error)[:200]}")
                damaged.append(step)
                continue
            for bad, failure in zip(damaged, failures, strict=True):
                print(f"Skipped a damaged checkpoint:{failure[1:]}", file=sys.stderr)
                self._manager.delete(bad)
            return state, progress
        if failures:
            raise InputError(
                f"{self.folder}: no checkpoint can be read. Delete this folder to start again, or "
                "choose another workdir.\n" + "\n".join(failures)
            )
        return None

    def _read(self, step: int, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
        like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), like)
        model = {"params": like.evaluated_params, "batch_stats": like.batch_stats}
        read = self._manager.restore(
            step,
            args=ocp.args.Composite(
                model=ocp.args.StandardRestore(model),
                trainer=ocp.args.StandardRestore(_trainer(like)),
                progress=ocp.args.JsonRestore(),
            ),
        )
        damage.check_shapes(self.folder / str(step), model, read["model"])
        trainer, progress = read["trainer"], read["progress"]
        hashes = progress.pop(_HASHES, {})
        for item in ("model", "trainer"):
            damage.check_hash(item, read[item], hashes)
        has_ema = like.ema is not None
        state = TrainState(
            step=trainer["step"],
            params=trainer["params"] if has_ema else read["model"]["params"],
            batch_stats=read["model"]["batch_stats"],
            opt_state=trainer["opt_state"],
            ema=read["model"]["params"] if has_ema else None,
            first_bad_step=trainer["first_bad_step"],
        )
        return state, progress


def read_model(folder: PathLike, step: int) -> Model:
    """Reads the network of one checkpoint, needing neither its code nor its optimizer.

    Raises:
      InputError: there is no such checkpoint, or it cannot be read.
    """
    folder = pathlib.Path(folder).absolute()
    if not (folder / str(step)).is_dir():
        raise InputError(f"{folder}: contains no checkpoint of step {step}. Train first.")
    with contextlib.closing(_manager(folder, _LatestAndBest(), read_only=True)) as manager:
        try:
            stored = manager.item_metadata(step)["model"]
            # Without it, what several processes wrote would be read onto their devices.
            like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), stored.tree)
            args = ocp.args.Composite(
                model=ocp.args.StandardRestore(like), progress=ocp.args.JsonRestore()
            )
            stored = manager.restore(step, args=args)
            read = stored["model"]
            damage.check_hash("model", read, stored["progress"].get(_HASHES, {}))
        except Exception as error:
            raise InputError(
                f"{folder / str(step)}: cannot be read ({type(error).__name__}). Train again."
            ) from error
    return Model(read["params"], read["batch_stats"], step)


def steps(folder: PathLike) -> list[int]:
    """The steps that have a checkpoint in `folder`, in ascending order."""
    found = pathlib.Path(folder).glob("*") if pathlib.Path(folder).is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdigit())


def read_progress(folder: PathLike) -> dict[str, Any]:
    """Reads the progress of the newest checkpoint that has one.

    Raises:
      InputError: there is none.
    """
    folder = pathlib.Path(folder).absolute()
    if folder.is_dir():
        with contextlib.closing(_manager(folder, _LatestAndBest(), read_only=True)) as manager:
            for step in sorted(manager.all_steps(), reverse=True):
                with contextlib.suppress(Exception):  # damaged: the one before it then
                    args = ocp.args.Composite(progress=ocp.args.JsonRestore())
                    progress = manager.restore(step, args=args)["progress"]
                    progress.pop(_HASHES, None)
                    return progress
    raise InputError(f"{folder}: contains no readable checkpoint. Train first.")


class _LatestAndBest:
    """Keeps the two latest checkpoints and the one the loop calls best.

    Orbax's own BestN prefers the later of two equal values, early stopping the earlier.
    """

    def __init__(self) -> None:
        self.best_step: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        del context
        latest = {info.step for info in checkpoints[-2:]}
        return [info.step in latest or info.step == self.best_step for info in checkpoints]


class _FromElsewhere(logging.Filter):
    """Silences Orbax: each of its threads logs a failure at length before it is raised to us."""

    def filter(self, record: logging.LogRecord) -> bool:
        return f"{os.sep}orbax{os.sep}" not in record.pathname


_QUIET = _FromElsewhere()


def _manager(
    folder: pathlib.Path, policy: _LatestAndBest, read_only: bool = False
) -> ocp.CheckpointManager:
    logging.getLogger("absl").addFilter(_QUIET)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy, cleanup_tmp_directories=not read_only, read_only=read_only
    )
    handlers = {
        "model": ocp.StandardCheckpointHandler(),
        "trainer": ocp.StandardCheckpointHandler(),
        "progress": ocp.JsonCheckpointHandler(),
    }
    return ocp.CheckpointManager(plain_path(folder), options=options, item_handlers=handlers)


def _trainer(state: TrainState) -> dict[str, PyTree]:
    """What is not already in the item `model`."""
    rest = {
        "step": state.step,
        "opt_state": state.opt_state,
        "first_bad_step": state.first_bad_step,
    }
    return rest if state.ema is None else {**rest, "params": state.params}


@contextlib.contextmanager
def _no_space_is_an_input_error(folder: pathlib.Path) -> Iterator[None]:
    """Orbax reports a full disk as OSError or, from its C++ part, as text in a ValueError."""
    try:
        yield
    except (OSError, ValueError) as error:
        numbers = [int(n) for n in re.findall(r"os_error_code='(\d+)'", str(error))]
        if getattr(error, "errno", None) in _NO_SPACE or set(numbers) & set(_NO_SPACE):
            raise InputError(
                f"{folder}: no space left on the disk (or a quota is used up). The checkpoint "
                "before is intact: free some space and run the same command again."
            ) from error
        raise
