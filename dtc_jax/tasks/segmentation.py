"""SE V-Net as a `Task`: the probability of every voxel of a patch that it is lesion."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from dtc_jax.errors import InputError
from dtc_jax.imaging.preprocess import Preprocess, crop, normalize, preprocess
from dtc_jax.models.vnet import VNet
from dtc_jax.tasks import inputs
from dtc_jax.tasks.inputs import mirrors, network_fields, views
from dtc_jax.training import segmentation_losses
from dtc_jax.training.augment import augment
from dtc_jax.training.task import Batch, LossOut, PyTree, Task

NETWORK = VNet
MONITORS = ("dice", "loss")

Forward = Callable[[PyTree, PyTree, jax.Array], jax.Array]


def make_task(config: ml_collections.ConfigDict, training_labels: np.ndarray) -> Task:
    """The task of `config` (fields preprocess, augment, model, loss, predict, train.monitor).

    Args:
      config: see configs/vnet.py.
      training_labels: [N]; 1 where a training patch holds lesion, else 0.

    Raises:
      InputError: no training patch holds lesion.
      UsageError: an unknown loss.
    """
    segmentation_losses.check(config.loss)
    if not (np.asarray(training_labels) > 0).any():
        raise InputError(
            f"none of the {len(training_labels)} training patches holds a lesion; check the masks, "
            "or raise config.data.lesion_share."
        )
    spec, whole = make_preprocess(config), make_predict_preprocess(config)
    network, forward = make_network(config), make_forward(config)

    def init(key: jax.Array) -> tuple[PyTree, PyTree]:
        variables = network.init(key, jnp.zeros((1, *spec.shape, 1)), train=False)
        return variables["params"], variables.get("batch_stats", {})

    def augmented(key: jax.Array, image: jax.Array, mask: jax.Array, extent: jax.Array):
        hu, target = augment(key, image, mask, extent, spec, config.augment)
        return normalize(hu, target, spec, jnp), target

    def loss(
        params: PyTree, batch_stats: PyTree, batch: Batch, keys: jax.Array, axis_name: str | None
    ) -> LossOut:
        x, target = jax.vmap(augmented)(keys, batch["image"], batch["mask"], batch["extent"])
        logits, updates = network.clone(axis_name=axis_name).apply(
            {"params": params, "batch_stats": batch_stats}, x, train=True, mutable=["batch_stats"]
        )
        levels = logits if network.deep_supervision else logits[None]  # [S, B, D, H, W]
        shares = 0.5 ** np.arange(len(levels))  # each level counts half of the finer one before it
        rows = sum(
            share * segmentation_losses.example_losses(level, target, config.loss)
            for share, level in zip(shares / shares.sum(), levels, strict=True)
        )  # [B]
        valid = batch["valid"]
        overlap, found, true = _voxels(levels[0], target, config.predict.threshold)
        has_lesion = valid * (true > 0)
        dice = 2.0 * overlap / jnp.maximum(found + true, 1.0)
        total, weight = (valid * rows).sum(), valid.sum()
        metrics = {"loss": (total, weight), "dice": ((has_lesion * dice).sum(), has_lesion.sum())}
        return LossOut(total, weight, metrics, updates.get("batch_stats", {}))

    def predict(params: PyTree, batch_stats: PyTree, batch: Batch) -> dict[str, jax.Array]:
        x = preprocess(batch["image"], batch["mask"], whole, jnp)  # [B, D, H, W, 1]
        target = crop(batch["mask"], whole, jnp, edge=False)  # [B, D, H, W]
        logits = forward(params, batch_stats, x)
        overlap, found, true = _voxels(logits, target, config.predict.threshold)
        rows = segmentation_losses.example_losses(logits, target, config.loss)
        voxels = {"overlap_voxels": overlap, "found_voxels": found, "true_voxels": true}
        return {"index": batch["index"], "loss": rows, **voxels}

    def summarize(outputs: Sequence[dict[str, np.ndarray]]) -> dict[str, float]:
        found = columns(outputs)
        empty = found["true_voxels"] == 0
        figures = {
            "loss": float(found["loss"].mean()),
            "dice": float(found["dice"][~empty].mean()) if not empty.all() else float("nan"),
        }
        if empty.any():  # counted, never averaged into Dice
            figures["empty_with_finding"] = float((found["found_voxels"][empty] > 0).mean())
        return figures

    monitor = config.train.monitor
    return Task(init, loss, predict, summarize, monitor, "min" if monitor == "loss" else "max")


def make_preprocess(config: ml_collections.ConfigDict) -> Preprocess:
    """The preprocessing of `config.preprocess`, of windows of the network's own grid.

    Raises:
      InputError: the run is from before patches were such windows.
    """
    if "antialias" not in config.preprocess:
        raise InputError(
            "this segmenter was trained by an earlier version, on patches that were resampled "
            "differently from whole scans; train it again."
        )
    return dataclasses.replace(inputs.make_preprocess(config), grid="scan")


def make_predict_preprocess(config: ml_collections.ConfigDict) -> Preprocess:
    """As in training, on the field of view of `config.predict.crop_mm`."""
    return dataclasses.replace(make_preprocess(config), crop_mm=tuple(config.predict.crop_mm))


def make_network(config: ml_collections.ConfigDict) -> VNet:
    """The network of `config.model`."""
    return VNet(**network_fields(config))


def make_forward(config: ml_collections.ConfigDict) -> Forward:
    """(params, batch_stats, x [B, D, H, W, 1] in [0, 1]) -> logits [B, D, H, W].

    With `config.predict.mirror` they are the mean over `x` and its mirror images.
    """
    network = make_network(config)
    flips = mirrors(config.predict.mirror)

    def forward(params: PyTree, batch_stats: PyTree, x: jax.Array) -> jax.Array:
        variables = {"params": params, "batch_stats": batch_stats}
        logits = network.apply(variables, views(x, config.predict.mirror), train=False)
        assert isinstance(logits, jax.Array)  # apply may return a pair, but not this one
        seen = zip(jnp.split(logits, len(flips)), flips, strict=True)
        return sum((jnp.flip(view, axes) for view, axes in seen), jnp.zeros(())) / len(flips)

    return forward


def columns(outputs: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What `predict` says of each patch, by column. # [N]

    Returns:
      loss; overlap_voxels, found_voxels and true_voxels; dice, NaN where nothing is to be found.
    """
    names = ("loss", "overlap_voxels", "found_voxels", "true_voxels")
    found = {name: np.concatenate([out[name] for out in outputs]).astype(float) for name in names}
    with np.errstate(invalid="ignore", divide="ignore"):
        dice = 2 * found["overlap_voxels"] / (found["found_voxels"] + found["true_voxels"])
    return found | {"dice": np.where(found["true_voxels"] > 0, dice, np.nan)}


def _voxels(
    logits: jax.Array, target: jax.Array, threshold: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Voxels of each example in both masks, in the found one, in the true one. # 3 x [B]"""
    found, true = jax.nn.sigmoid(logits) > threshold, target >= 0.5
    axes = (1, 2, 3)
    return (found & true).sum(axes), found.sum(axes), true.sum(axes)
