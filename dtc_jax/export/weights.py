"""The weights of a trained network in a safetensors file, under the names that Flax gives them.

A name is MEMBER/params/stage1/conv1/kernel, or MEMBER/batch_stats/…; of an ensemble the number of
the network comes third. `pytorch_layout` says how each becomes a parameter of PyTorch.
"""

from typing import Any

import jax
import numpy as np
from safetensors import numpy as safetensors

from dtc_jax.models.vnet import VNet
from dtc_jax.tasks.trained import TrainedNetwork
from dtc_jax.training.task import PyTree

_CONV = (4, 3, 0, 1, 2)  # [k, k, k, C, F] -> [F, C, k, k, k]
_TRANSPOSED = (0, 4, 1, 2, 3)  # [C, k, k, k, F] -> [C, F, k, k, k]
_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "negative_slope": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def named(network: TrainedNetwork) -> dict[str, np.ndarray]:
    """Every array of the network by its name."""
    arrays = {}
    for number, (params, batch_stats) in enumerate(network.variables):
        tree: PyTree = {"params": params, "batch_stats": batch_stats}
        for place, leaf in jax.tree_util.tree_leaves_with_path(tree):
            keys = [str(getattr(key, "key", getattr(key, "idx", ""))) for key in place]
            arrays["/".join([str(number), *keys])] = np.array(leaf, order="C")
    return arrays


def make(network: TrainedNetwork, notes: dict[str, str]) -> bytes:
    """The file: `named`, and notes as its metadata."""
    return safetensors.save(named(network), notes)


def pytorch_layout(network: TrainedNetwork) -> dict[str, dict[str, Any]]:
    """How each array becomes a parameter of a PyTorch module with the same names.

    Returns:
      name -> `name` of the parameter, `permute`: order of the axes in PyTorch, and its `shape`. A
      kernel of a Dense layer on voxels is a 1x1x1 convolution's once two or three axes of 1 follow.
    """
    transposed = network.task.network is VNet and network.config.model.up == "transposed"
    layout = {}
    for name, array in named(network).items():
        *path, leaf = name.split("/")
        axes: tuple[int, ...] = tuple(range(array.ndim))
        if leaf == "kernel" and array.ndim == 5:
            axes = _TRANSPOSED if transposed and path[-1].startswith("up") else _CONV
        elif leaf == "kernel":
            axes = (1, 0)
        kept = [part for part in path if part not in ("params", "batch_stats")]
        layout[name] = {
            "name": ".".join([*kept, _LEAVES[leaf]]),
            "permute": list(axes),
            "shape": [array.shape[axis] for axis in axes],
        }
    return layout
