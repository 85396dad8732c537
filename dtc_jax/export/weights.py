"""The weights of a trained network in a safetensors file, under the names that Flax gives them.

A name is NUMBER/params/stage1/conv1/kernel, or NUMBER/batch_stats/…, with the number of the network
among those that decide together. `pytorch_layout` says how each becomes a parameter of PyTorch.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.models.vnet import VNet
from dtc_jax.tasks import registry
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
    return {name: np.array(leaf, order="C") for name, leaf in _named(network.variables).items()}


def _named(variables: Sequence[tuple[PyTree, PyTree]]) -> dict[str, Any]:
    """The leaves of the networks' (params, batch_stats) by name."""
    leaves = {}
    for number, (params, batch_stats) in enumerate(variables):
        tree: PyTree = {"params": params, "batch_stats": batch_stats}
        for place, leaf in jax.tree_util.tree_leaves_with_path(tree):
            keys = [str(getattr(key, "key", getattr(key, "idx", ""))) for key in place]
            leaves["/".join([str(number), *keys])] = leaf
    return leaves


def make(network: TrainedNetwork, notes: dict[str, str]) -> bytes:
    """The file: `named`, and notes as its metadata."""
    return safetensors.save(named(network), notes)


def pytorch_layout(network: TrainedNetwork) -> dict[str, dict[str, Any]]:
    """How each array becomes a parameter of a PyTorch module with the same names.

    Returns:
      name -> `name` of the parameter, `permute`: order of the axes in PyTorch, and its `shape`. A
      kernel of a Dense layer on voxels is a 1x1x1 convolution's once three axes of 1 follow.
    """
    return {
        name: {
            "name": ".".join([*_kept(name), _LEAVES[name.rsplit("/", 1)[1]]]),
            "permute": list(axes),
            "shape": [array.shape[axis] for axis in axes],
        }
        for name, array in named(network).items()
        for axes in [_axes(name, array.ndim, network.task.network, network.config)]
    }


def _kept(name: str) -> list[str]:
    """The modules that an array is in, from the number of the member on."""
    return [part for part in name.split("/")[:-1] if part not in ("params", "batch_stats")]


def _axes(name: str, ndim: int, kind: type, config: ml_collections.ConfigDict) -> tuple[int, ...]:
    """The order of an array's axes in PyTorch."""
    *path, leaf = name.split("/")
    if leaf != "kernel":
        return tuple(range(ndim))
    if ndim == 5:
        goes_up = kind is VNet and config.model.up == "transposed" and path[-1].startswith("up")
        return _TRANSPOSED if goes_up else _CONV
    return (1, 0)


def read(path: storage.PathLike, config: ml_collections.ConfigDict) -> tuple[PyTree, PyTree]:
    """The weights of one network from a safetensors file.

    Args:
      path: of a bundle, or with the names and layouts of PyTorch (see `pytorch_layout`, with or
        without the number of the network).
      config: says of which network; an array of another shape is returned as it is.

    Returns:
      params, batch_stats.

    Raises:
      InputError: it is no safetensors file, has several networks, or no array of such a network; or
        an array is not of finite floating-point numbers, or is a negative variance.
    """
    if pathlib.Path(path).is_dir():  # which cannot be mapped into memory
        raise InputError(f"{path}: is a folder; give the path of a safetensors file.")
    with storage.no_file_is_an_input_error(path, "a safetensors file"):
        try:
            arrays = safetensors.load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path}: is no safetensors file ({error}).") from error
    if any(name.split("/")[0].split(".")[0].isdigit() and name[0] != "0" for name in arrays):
        raise InputError(f"{path}: has several networks; export a run, or a fold, of one.")
    task = registry.of(config)
    shapes = jax.eval_shape(task.make_task(config).init, jax.random.key(0))
    tree: PyTree = {"params": {}, "batch_stats": {}}
    for name, wanted in _named([shapes]).items():
        torch = ".".join([*_kept(name), _LEAVES[name.rsplit("/", 1)[1]]])
        stored = next((n for n in (name, torch, torch.removeprefix("0.")) if n in arrays), None)
        if stored is None:
            continue
        found = arrays[stored]
        _check(path, stored, found, is_variance=name.endswith("/var"))
        if stored != name:
            axes = _axes(name, len(wanted.shape), task.network, config)
            there = [wanted.shape[axis] for axis in axes]
            if _without_ones(found.shape) == _without_ones(there):  # 1x1x1 convolutions, slopes
                found = found.reshape(there)
            if found.ndim == len(axes):
                found = found.transpose(np.argsort(axes))
        *path_in, leaf = name.split("/")[1:]
        place = tree
        for part in path_in:
            place = place.setdefault(part, {})
        place[leaf] = np.array(found, order="C")
    if not tree["params"]:
        raise InputError(
            f"{path}: has no array of {task.words.network}; weights/pytorch.json of a bundle lists "
            "the names."
        )
    return tree["params"], tree["batch_stats"]


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [side for side in shape if side != 1]


def _check(path: storage.PathLike, name: str, array: np.ndarray, is_variance: bool) -> None:
    """Refuses an array that cannot be a network's, whatever its shape."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise InputError(
            f"{path}: array {name} is of type {array.dtype}; give floating-point numbers."
        )
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(array.astype(np.float32)).all()
    if not is_finite:
        raise InputError(
            f"{path}: array {name} has values that are NaN, infinite or too large for float32; "
            "give finite ones."
        )
    if is_variance and (array < 0).any():
        raise InputError(
            f"{path}: array {name} has negative values, which a variance cannot have; give the "
            "running variance itself."
        )
