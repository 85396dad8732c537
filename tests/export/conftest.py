"""Runs of an earlier version, with their figures, and small networks with drawn weights."""

import pathlib
import tarfile
from collections.abc import Callable

import jax
import ml_collections
import numpy as np
import pytest

from dtc_jax.tasks import registry
from dtc_jax.tasks.trained import Member, TrainedNetwork

ARCHIVE = pathlib.Path(__file__).parents[1] / "data" / "earlier_runs.tar.gz"


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> pathlib.Path:
    """The folders `classifier`, one network, and `folds`, two with different fields of view."""
    folder = tmp_path_factory.mktemp("runs")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def drawn() -> Callable[..., TrainedNetwork]:
    """Makes a network of a configuration; no weight or statistic has a special value."""

    def drawn(config: ml_collections.ConfigDict, members: int = 1) -> TrainedNetwork:
        task = registry.of(config)
        shapes = jax.eval_shape(task.make_task(config).init, jax.random.key(0))
        rng = np.random.default_rng(0)

        def draw(place, leaf):
            name = jax.tree_util.keystr(place)
            if name.endswith(("['scale']", "['var']")):
                return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
            fan_in = max(1, np.prod(leaf.shape[:-1]))
            return rng.normal(0, fan_in**-0.5, leaf.shape).astype(np.float32)

        trees = [jax.tree_util.tree_map_with_path(draw, shapes) for _ in range(members)]
        return TrainedNetwork(task, tuple(Member(config, *tree, {}) for tree in trees), 0.5)

    return drawn
