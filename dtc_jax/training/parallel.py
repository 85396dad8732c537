"""Data parallelism: where arrays lie and how a step is compiled, for jit and for pmap.

`Jitted` is the main path: one mesh axis `data`, the state replicated, the batch split over it; XLA
adds up over the devices. `Mapped` wraps the same step in pmap, which JAX keeps in maintenance
mode; there the step itself adds up, over the mapped axis. Both take any number of devices that
divides the batch. `Jitted` alone takes those of several processes; each then has its own rows of
the global batch, and what is the same on every device is the same in every process.
"""

import abc
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from dtc_jax.errors import UsageError
from dtc_jax.training import hosts
from dtc_jax.training.steps import PredictStep, TrainStep
from dtc_jax.training.task import Batch, PyTree

AXIS = "data"
Numbers = Mapping[str, jax.Array]  # scalars in which trainings of one program may differ
_NO_NUMBERS: Numbers = {}
# On a CPU, XLA removes barriers before it looks for common subexpressions and for what to fuse. It
# would then keep the activations that `model.remat` computes again, and fuse what
# `models.planes.conv2d` keeps apart.
KEEP_BARRIERS = {"xla_disable_hlo_passes": "cse_barrier_expander"}


class Parallel(abc.ABC):
    """Places arrays on the devices and compiles steps for them.

    All transfers are explicit, so that steps can run under `jax.transfer_guard('disallow')`.
    """

    def __init__(self, devices: Sequence[jax.Device] | None = None):
        """Args: devices: those to use; None for all, of all processes."""
        # In the order of the processes, as their rows are in the global batch.
        every = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
        self.devices = list(every if devices is None else devices)
        self.mesh = jax.sharding.Mesh(np.array(self.devices), (AXIS,), axis_types=(AxisType.Auto,))
        self._processes = len({device.process_index for device in self.devices})
        self._replicated = NamedSharding(self.mesh, P())
        self._split = NamedSharding(self.mesh, P(AXIS))

    def __eq__(self, other: object) -> bool:
        """Whether it is the same way on the same devices."""
        return isinstance(other, type(self)) and self.devices == other.devices

    def __hash__(self) -> int:
        return hash((type(self), *self.devices))

    @abc.abstractmethod
    def place(self, tree: PyTree) -> PyTree:
        """Copies host arrays to every device."""

    @abc.abstractmethod
    def fetch(self, tree: PyTree) -> PyTree:
        """Copies what is the same on every device to the host, once, into memory of its own.

        A view would do on an accelerator, but on a CPU it would alias buffers that the next step
        is given to overwrite.
        """

    def to_save(self, tree: PyTree) -> PyTree:
        """A copy of what is the same on every device, for a checkpoint that is written meanwhile.

        It is on the host; with several processes on the devices, as they write it together.
        """
        return self.fetch(tree)

    @abc.abstractmethod
    def shard(self, batch: Batch) -> Batch:
        """Spreads the rows of a host batch, or of this process's part of it, over the devices.

        Raises:
          UsageError: the batch does not divide by the number of devices.
        """

    @abc.abstractmethod
    def compile_train(self, make: Callable[..., TrainStep]) -> Callable[..., Any]:
        """Compiles (state, batch, numbers={}) -> (state, metrics); the state is donated.

        Args:
          make: the step, given the numbers by name. They are arguments of the program and no part
            of it, so that trainings which differ in them alone compile it once.
        """

    @abc.abstractmethod
    def compile_predict(self, step: PredictStep) -> Callable[..., Any]:
        """Compiles (params, batch_stats, batch) -> dict of arrays, read with `rows`."""

    @abc.abstractmethod
    def rows(self, predictions: dict[str, jax.Array]) -> dict[str, np.ndarray]:
        """Predictions of one global batch on the host. # [B, ...]"""

    def _check_rows(self, batch: Batch) -> None:
        rows, devices = rows_of(batch) * self._processes, len(self.devices)
        if rows % devices:
            raise UsageError(
                f"config.train.batch_size, config.predict.batch_size: {rows} rows cannot be "
                f"divided evenly over {devices} devices. Choose a multiple of {devices}."
            )


class Jitted(Parallel):
    """jit with NamedSharding."""

    def place(self, tree: PyTree) -> PyTree:  # noqa: D102
        if self._processes == 1:
            return jax.device_put(tree, self._replicated)
        # device_put would send every array to process 0, to compare them.
        return jax.tree.map(self._placed, tree)

    def _placed(self, x: np.ndarray) -> jax.Array:
        whole = np.asarray(x)
        with jax.transfer_guard_host_to_device("allow"):  # JAX takes this for an implicit transfer
            return jax.make_array_from_callback(whole.shape, self._replicated, whole.__getitem__)

    def fetch(self, tree: PyTree) -> PyTree:  # noqa: D102
        shards = jax.tree.map(lambda x: x.addressable_shards[0].data, tree)
        return jax.tree.map(np.array, jax.device_get(shards))

    def shard(self, batch: Batch) -> Batch:  # noqa: D102
        self._check_rows(batch)
        if self._processes == 1:
            return jax.device_put(batch, self._split)
        return jax.tree.map(functools.partial(hosts.from_rows, self._split), batch)

    def to_save(self, tree: PyTree) -> PyTree:  # noqa: D102
        return self.fetch(tree) if self._processes == 1 else self._copied(tree)

    @functools.cached_property
    def _copied(self) -> Callable[[PyTree], PyTree]:
        """Copies to every device."""
        copy = lambda tree: jax.tree.map(jnp.copy, tree)  # noqa: E731
        return jax.jit(copy, out_shardings=self._replicated)

    def compile_train(self, make: Callable[..., TrainStep]) -> Callable[..., Any]:  # noqa: D102
        def train_step(state: PyTree, batch: Batch, numbers: Numbers = _NO_NUMBERS) -> Any:
            return make(**numbers)(state, batch)

        return jax.jit(
            train_step,
            donate_argnums=0,
            out_shardings=(self._replicated, self._replicated),
            compiler_options=KEEP_BARRIERS if self.devices[0].platform == "cpu" else None,
        )

    def compile_predict(self, step: PredictStep) -> Callable[..., Any]:  # noqa: D102
        return jax.jit(step, out_shardings=self._split)

    def rows(self, predictions: dict[str, jax.Array]) -> dict[str, np.ndarray]:  # noqa: D102
        if self._processes == 1:
            return jax.device_get(predictions)
        return self.fetch(self._copied(predictions))


class Mapped(Parallel):
    """pmap: every array gets a leading axis of devices. For one process alone."""

    def __init__(self, devices: Sequence[jax.Device] | None = None):
        """Args: devices: those to use; None for all.

        Raises:
          UsageError: there are several processes.
        """
        super().__init__(devices)
        if self._processes > 1:
            raise UsageError(
                f"config.parallel is 'pmap', which trains in one process, and this is one of "
                f"{self._processes}. Set it to 'jit'."
            )

    def place(self, tree: PyTree) -> PyTree:  # noqa: D102
        n = len(self.devices)
        stacked = jax.tree.map(lambda x: np.broadcast_to(x, (n, *np.shape(x))), tree)
        return jax.device_put(stacked, self._split)  # [devices, ...]

    def fetch(self, tree: PyTree) -> PyTree:  # noqa: D102
        shards = jax.tree.map(lambda x: x.addressable_shards[0].data, tree)  # [1, ...]
        return jax.tree.map(lambda x: np.array(x[0]), jax.device_get(shards))

    def shard(self, batch: Batch) -> Batch:  # noqa: D102
        self._check_rows(batch)
        n = len(self.devices)
        split = jax.tree.map(lambda x: x.reshape(n, len(x) // n, *x.shape[1:]), batch)
        return jax.device_put(split, self._split)  # [devices, B/devices, ...]

    def compile_train(self, make: Callable[..., TrainStep]) -> Callable[..., Any]:  # noqa: D102
        def train_step(state: PyTree, batch: Batch, numbers: Numbers = _NO_NUMBERS) -> Any:
            return make(**numbers)(state, batch, axis_name=AXIS)

        return jax.pmap(train_step, axis_name=AXIS, donate_argnums=0, devices=self.devices)

    def compile_predict(self, step: PredictStep) -> Callable[..., Any]:  # noqa: D102
        return jax.pmap(step, axis_name=AXIS, devices=self.devices)

    def rows(self, predictions: dict[str, jax.Array]) -> dict[str, np.ndarray]:  # noqa: D102
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), jax.device_get(predictions))


def rows_of(batch: Batch) -> int:
    """How many rows a host batch has."""
    return len(next(iter(batch.values())))


def make(kind: str, devices: Sequence[jax.Device] | None = None) -> Parallel:
    """The way to run named by `config.parallel`: 'jit' or 'pmap'.

    Raises:
      UsageError: `kind` is neither.
    """
    kinds = {"jit": Jitted, "pmap": Mapped}
    if kind not in kinds:
        raise UsageError(f"config.parallel={kind!r}: choose one of {', '.join(kinds)}.")
    return kinds[kind](devices)
