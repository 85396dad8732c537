"""What a configuration has its network learn: one object for all that differ in their seed alone.

The programs that are made of it are kept (`training.programs`), so that the networks of an ensemble
and of the folds share them.
"""

import dataclasses
import functools
import json

import jax
import ml_collections

from dtc_jax.tasks import fields, registry
from dtc_jax.tasks.definition import Definition
from dtc_jax.training import optimizer
from dtc_jax.training.programs import MakeOptimizer
from dtc_jax.training.task import PyTree, Task

_KEPT = 8  # of each kind; they are small


@dataclasses.dataclass(frozen=True, eq=False)
class _Seedless:
    """A configuration, equal to those that differ from it in their seed alone."""

    config: ml_collections.ConfigDict
    definition: Definition

    @functools.cached_property
    def _key(self) -> str:
        return json.dumps(fields.plain(self.config), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Seedless):
            return NotImplemented
        return self.definition is other.definition and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def task(config: ml_collections.ConfigDict) -> Task:
    """What the network of `config` learns."""
    return _task(_seedless(config))


def shapes(config: ml_collections.ConfigDict) -> tuple[PyTree, PyTree]:
    """Parameters and batch statistics, each array as its shape and dtype; nothing is computed.

    JAX keeps what it has traced, so that the networks of an ensemble and of the folds cost nothing.

    Raises:
      TypeError, ValueError: the network cannot be made of `config`, or does not fit its input.
    """
    params, batch_stats = jax.eval_shape(task(config).init, jax.random.key(0))
    return params, batch_stats


def features(config: ml_collections.ConfigDict) -> Task:
    """The same with what the network's last layer sees for its prediction.

    The task must have such features, see `Definition.make_features`.
    """
    return _features(_seedless(config))


def make_optimizer(config: ml_collections.ConfigDict) -> MakeOptimizer:
    """What gives its optimizer for a number of updates."""
    return _make_optimizer(_seedless(config))


def _seedless(config: ml_collections.ConfigDict) -> _Seedless:
    alike = config.copy_and_resolve_references()  # what is kept must not follow later changes
    alike.seed = 0
    return _Seedless(alike, registry.of(config))


@functools.lru_cache(_KEPT)
def _task(of: _Seedless) -> Task:
    made = of.definition.make_task(of.config)
    is_last = of.config.train.get("keep", "best") == "last"
    return dataclasses.replace(made, mode="last") if is_last else made


@functools.lru_cache(_KEPT)
def _features(of: _Seedless) -> Task:
    assert of.definition.make_features is not None
    return dataclasses.replace(_task(of), predict=of.definition.make_features(of.config))


@functools.lru_cache(_KEPT)
def _make_optimizer(of: _Seedless) -> MakeOptimizer:
    return functools.partial(optimizer.make_optimizer, of.config.optimizer)
