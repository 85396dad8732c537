"""Whether what a checkpoint gives back is what was saved, and of the network that is wanted."""

import hashlib
import pathlib

import jax
import numpy as np

from dtc_jax.errors import InputError
from dtc_jax.training.task import PyTree


def hash_of(tree: PyTree) -> str:
    """Of the values of arrays that are on the host, or the same on every device: 32 hex digits."""
    found = hashlib.blake2b(digest_size=16)
    for leaf in jax.tree.leaves(tree):
        here = leaf.addressable_shards[0].data if isinstance(leaf, jax.Array) else leaf
        found.update(np.ascontiguousarray(jax.device_get(here)).tobytes())
    return found.hexdigest()


def check_hash(item: str, tree: PyTree, hashes: dict[str, str]) -> None:
    """Refuses what is not what was saved; older checkpoints have no hashes.

    Args:
      item: of the checkpoint.
      tree: its arrays, as they were read.
      hashes: of the items when they were saved.

    Raises:
      ValueError: the arrays are others; `checkpoint` goes back to an earlier one.
    """
    if item in hashes and hash_of(tree) != hashes[item]:
        raise ValueError(f"{item} is not what was saved: bits have changed on the disk")


def check_shapes(path: pathlib.Path, wanted: PyTree, got: PyTree) -> None:
    """Refuses arrays of other shapes: Orbax hands out whatever it finds.

    Args:
      path: of the checkpoint, for the message.
      wanted: shapes, as `jax.eval_shape` gives them.
      got: arrays of the same structure.

    Raises:
      InputError: names the first array that differs.
    """
    pairs = zip(jax.tree_util.tree_leaves_with_path(wanted), jax.tree.leaves(got), strict=True)
    for (name, want), have in pairs:
        if want.shape != np.shape(have):
            raise InputError(
                f"{path}: does not match the config: {jax.tree_util.keystr(name)} has shape "
                f"{np.shape(have)}, the config asks for {want.shape}. Choose another workdir."
            )
