"""SE V-Net: the probability of every voxel of a patch that it is lesion."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from dtc_jax.errors import UsageError
from dtc_jax.imaging.instances import Instances
from dtc_jax.imaging.preprocess import IGNORED, Preprocess, crop, normalize, preprocess
from dtc_jax.models.vnet import VNet
from dtc_jax.tasks import patch_data, patch_figures, segmentation_losses
from dtc_jax.tasks.definition import Columns, Definition, Monitors, Words
from dtc_jax.tasks.inputs import Logit, mean_of_views, network_fields, together, views
from dtc_jax.tasks.patch_data import make_preprocess
from dtc_jax.training.augment import augment
from dtc_jax.training.set_in import is_tight, is_whole, resettle, set_in
from dtc_jax.training.task import Batch, LossOut, PyTree, Task
from dtc_jax.training.thick_slices import thick_slices

_MONITORS: Monitors = {"dice": "max", "loss": "min"}
# Of the keys that an example's key gives; 0 and 1 are those that `augment` splits it into.
_THICK, _RESETTLE, _SET_IN = 2, 3, 4
_CERTAIN = -30.0  # logit whose probability and cross-entropy are 0 in float32, as is its gradient


def make_task(config: ml_collections.ConfigDict) -> Task:
    """What the trainer knows of the task (fields preprocess, augment, model, loss, predict).

    Args:
      config: see configs/vnet.py.
    """
    spec, whole = make_preprocess(config), make_predict_preprocess(config)
    network, logit_of = make_network(config), make_logit(config)

    def init(key: jax.Array) -> tuple[PyTree, PyTree]:
        variables = network.init(key, jnp.zeros((1, *spec.shape, 1)), train=False)
        return variables["params"], variables.get("batch_stats", {})

    share, thick = config.augment.get("set_in", 0.0), config.augment.get("thick_slices", 0.0)
    resettled = config.augment.get("resettle", 0.0)

    def augmented(batch: Batch, keys: jax.Array, axis_name: str | None):
        one = functools.partial(augment, spec=spec, strength=config.augment)
        image, mask, extent = batch["image"], batch["mask"], batch["extent"]
        hu, target, ignored, inside = jax.vmap(one)(keys, image, mask, extent)
        usable = jnp.ones(len(hu), bool)
        of = functools.partial(jax.vmap(jax.random.fold_in, (0, None)), keys)
        if resettled > 0:
            tight = is_tight(mask.shape[1:], extent)
            hu, ignored, usable = resettle(
                of(_RESETTLE), hu, target, ignored, inside, tight, resettled, axis_name
            )
        if share > 0:
            whole = is_whole(mask == 1, extent) & (batch["valid"] > 0)
            hu, target = set_in(of(_SET_IN), hu, target, whole, share, axis_name)
        if thick > 0:
            thickest = (thick, config.augment.thickest_mm, spec.spacing_mm)
            hu = jax.vmap(lambda key, x: thick_slices(key, x, *thickest))(of(_THICK), hu)
        return normalize(hu, target, spec, jnp), target, ignored & (target < 0.5), usable

    def loss(
        params: PyTree, batch_stats: PyTree, batch: Batch, keys: jax.Array, axis_name: str | None
    ) -> LossOut:
        x, target, ignored, usable = augmented(batch, keys, axis_name)
        logits, updates = network.clone(axis_name=axis_name).apply(
            {"params": params, "batch_stats": batch_stats}, x, train=True, mutable=["batch_stats"]
        )
        levels = logits if network.deep_supervision else logits[None]  # [S, B, D, H, W]
        levels, target = _without(ignored, levels, target)
        shares = 0.5 ** np.arange(len(levels))  # each level counts half of the finer one before it
        rows = sum(
            share * segmentation_losses.example_losses(level, target, config.loss)
            for share, level in zip(shares / shares.sum(), levels, strict=True)
        )  # [B]
        weight = batch["valid"] * batch["weight"] * usable
        overlap, found, true = _voxels(levels[0], target, config.predict.threshold)
        has_lesion = batch["valid"] * usable * (true > 0)
        dice = 2.0 * overlap / jnp.maximum(found + true, 1.0)
        total = (weight * rows).sum()
        metrics = {
            "loss": (total, weight.sum()),
            "dice": ((has_lesion * dice).sum(), has_lesion.sum()),
        }
        return LossOut(total, weight.sum(), metrics, updates.get("batch_stats", {}))

    def predict(params: PyTree, batch_stats: PyTree, batch: Batch) -> dict[str, jax.Array]:
        mask = crop(batch["mask"], whole, jnp, edge=False)  # [B, D, H, W]
        logits = logit_of(params, batch_stats, batch["image"], batch["mask"])
        logits, target = _without(mask == IGNORED, logits, (mask == 1).astype(jnp.float32))
        overlap, found, true = _voxels(logits, target, config.predict.threshold)
        rows = segmentation_losses.example_losses(logits, target, config.loss)
        voxels = {"overlap_voxels": overlap, "found_voxels": found, "true_voxels": true}
        return {"index": batch["index"], "loss": rows, **voxels}

    def summarize(outputs: Sequence[dict[str, np.ndarray]]) -> dict[str, float]:
        table = columns(outputs)
        empty = table["true_voxels"] == 0
        figures = {
            "loss": float(table["loss"].mean()),
            "dice": float(table["dice"][~empty].mean()) if not empty.all() else float("nan"),
        }
        if empty.any():  # counted, never averaged into Dice
            figures["empty_with_finding"] = float((table["found_voxels"][empty] > 0).mean())
        return figures

    monitor = config.train.monitor
    return Task(init, loss, predict, summarize, monitor, _MONITORS[monitor])


def make_predict_preprocess(config: ml_collections.ConfigDict) -> Preprocess:
    """As in training, on the field of view of `config.predict.crop_mm`."""
    return dataclasses.replace(make_preprocess(config), crop_mm=tuple(config.predict.crop_mm))


def make_network(config: ml_collections.ConfigDict) -> VNet:
    """The network of `config.model`."""
    return VNet(**network_fields(config))


def make_logit(config: ml_collections.ConfigDict) -> Logit:
    """What the networks of `config` decide together, see `_make_logit`."""
    return together(config, _make_logit)


def _make_logit(config: ml_collections.ConfigDict) -> Logit:
    """From stored patches, or windows of a scan on the network's grid, to logits [B, D, H, W].

    The middle of `config.predict.crop_mm` is cut out of what is larger. The mask is not used. With
    `config.predict.mirror` the logits are the mean over the windows and their mirror images.
    """
    spec, network = make_predict_preprocess(config), make_network(config)
    mirrored = config.predict.mirror

    def logit(params: PyTree, batch_stats: PyTree, image: jax.Array, mask: jax.Array) -> jax.Array:
        x = preprocess(image, mask, spec, jnp)  # [B, D, H, W, 1]
        variables = {"params": params, "batch_stats": batch_stats}
        logits = network.apply(variables, views(x, mirrored), train=False)  # [V * B, D, H, W]
        assert isinstance(logits, jax.Array)  # apply may return a pair, but not this one
        return mean_of_views(logits, x.shape[0], mirrored)

    return logit


def columns(outputs: Sequence[dict[str, np.ndarray]]) -> Columns:
    """The outputs of `predict` by column, a value a patch. # [N]

    Returns:
      loss; overlap_voxels, found_voxels and true_voxels; dice, NaN where nothing is to be found.
    """
    names = ("loss", "overlap_voxels", "found_voxels", "true_voxels")
    table = {name: np.concatenate([out[name] for out in outputs]).astype(float) for name in names}
    with np.errstate(invalid="ignore", divide="ignore"):
        dice = 2 * table["overlap_voxels"] / (table["found_voxels"] + table["true_voxels"])
    return table | {"dice": np.where(table["true_voxels"] > 0, dice, np.nan)}


def _without(
    ignored: jax.Array, logits: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Logits and target that say with certainty 'background' where it is ignored: no loss there."""
    return jnp.where(ignored, _CERTAIN, logits), jnp.where(ignored, 0.0, target)


def _voxels(
    logits: jax.Array, target: jax.Array, threshold: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Voxels of each example in both masks, in the found one, in the true one. # 3 x [B]"""
    found, true = jax.nn.sigmoid(logits) > threshold, target >= 0.5
    axes = (1, 2, 3)
    return (found & true).sum(axes), found.sum(axes), true.sum(axes)


def check(config: ml_collections.ConfigDict) -> None:
    """Raises UsageError if config.loss or config.predict has an impossible value."""
    segmentation_losses.check(config.loss)
    overlap = config.predict.get("overlap", 0.5)
    if not 0 <= overlap < 1:
        raise UsageError(f"config.predict: overlap must be in [0, 1), and is {overlap}.")
    for name in ("set_in", "resettle", "thick_slices"):
        if not 0 <= (share := config.augment.get(name, 0.0)) <= 1:
            raise UsageError(f"config.augment: {name} is a share, and is {share}; give 0 to 1.")
    if config.augment.get("thick_slices", 0.0) > 0:
        thickest, spacing = config.augment.thickest_mm, config.preprocess.spacing_mm
        if thickest < spacing:
            raise UsageError(
                f"config.augment: thickest_mm is {thickest}; it must be at least "
                f"preprocess.spacing_mm, {spacing}."
            )
    try:
        make_instances(config)
    except UsageError as error:
        raise UsageError(f"config.predict: {error}") from error


def make_instances(config: ml_collections.ConfigDict) -> Instances:
    """How probability becomes lesions; runs from before these fields existed have the defaults."""
    return Instances(
        config.predict.threshold,
        config.predict.get("connectivity", Instances.connectivity),
        config.predict.get("min_volume_mm3", Instances.min_volume_mm3),
        lesion_threshold=config.predict.get("lesion_threshold", Instances.lesion_threshold),
    )


DEFINITION = Definition(
    words=Words("a segmenter", "--segmenter", "SE V-Net", "configs/vnet.py:demo"),
    network=VNet,
    monitors=_MONITORS,
    table=patch_figures.CASES,
    cpu_flops=1.5e10,  # few channels on fine grids
    check=check,
    load=patch_data.load,
    split=patch_data.split,
    weights=patch_data.weights,
    make_task=make_task,
    make_network=make_network,
    make_preprocess=make_preprocess,
    make_predict_preprocess=make_predict_preprocess,
    make_logit=make_logit,
    columns=columns,
    evaluate=patch_figures.evaluate,
    finds_lesions=True,
    examples_per_lesion=lambda config: (
        1.0
        if config.data.source == "cubes" or config.data.lesion_share <= 0
        else 1.0 / config.data.lesion_share
    ),
)
