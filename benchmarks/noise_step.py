"""The training step of a configuration on a batch of noise: to compile it, or to time it."""

import importlib
from typing import Any

import jax
import ml_collections
import numpy as np

from dtc_jax.tasks import registry
from dtc_jax.training import optimizer, parallel, steps
from dtc_jax.training import state as state_lib
from dtc_jax.training.task import Batch

_STEPS = 200  # of the schedule


def config_of(name: str) -> ml_collections.ConfigDict:
    """The configuration of a name such as 'senet:demo'; ends with a message if there is none."""
    module, _, variant = name.partition(":")
    try:
        return importlib.import_module(f"configs.{module}").get_config(variant)
    except ModuleNotFoundError:
        raise SystemExit(f"There is no configs/{module}.py; try senet:demo or vnet:demo.") from None
    except ValueError as error:
        raise SystemExit(str(error)) from None


class Step:
    """Lowered, not compiled.

    Attributes:
      lowered: the step, (state, batch) -> (state, metrics); its state is donated.
      parallel: places what it is given.
    """

    def __init__(self, config: ml_collections.ConfigDict):
        """Args: config: of the run whose step it is."""
        task = registry.of(config).make_task(config)
        schedule = optimizer.make_optimizer(config.optimizer, _STEPS)
        ema = config.train.ema_decay
        self._create = jax.jit(
            lambda: state_lib.create(task, schedule, seed=config.seed, ema=ema > 0)
        )
        self._config = config
        self.parallel = parallel.make(config.parallel)
        step = steps.make_train_step(task, schedule, seed=config.seed, ema_decay=ema)
        self._step = self.parallel.compile_train(lambda: step)
        self.lowered = self.lowered_for(self.batch())

    def lowered_for(self, batch: Batch) -> Any:
        """The step for batches of another kind, such as rows of a set on the devices."""
        return self._step.lower(jax.eval_shape(self._create), batch)

    def state(self) -> state_lib.TrainState:
        """A first one, on the devices."""
        return self.parallel.place(jax.device_get(self._create()))

    def placed(self, batch: Batch) -> Batch:
        """A batch on the devices."""
        return self.parallel.shard(batch)

    def batch(self) -> Batch:
        """Noise in the range of HU, on the host."""
        rng, rows = np.random.default_rng(0), self._config.train.batch_size
        sides = tuple(self._config.data.size_mm)
        return {
            "image": rng.integers(-1000, 400, (rows, *sides), np.int16),
            "mask": rng.integers(0, 2, (rows, *sides), np.uint8),
            "extent": np.tile(np.array([[0, n] for n in sides], np.int32), (rows, 1, 1)),
            "label": (np.arange(rows) % 2).astype(np.float32),
            "weight": np.ones(rows, np.float32),
            "index": np.arange(rows, dtype=np.int32),
            "valid": np.ones(rows, np.float32),
        }
