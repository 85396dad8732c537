"""SE V-Net: the probability of every voxel of a patch that it is lesion."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pandas as pd

from dtc_jax.cohort import manifest
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.errors import InputError, UsageError, unknown_choice
from dtc_jax.imaging.instances import Instances
from dtc_jax.imaging.preprocess import Preprocess, crop, normalize
from dtc_jax.models.vnet import VNet
from dtc_jax.tasks import patch_figures, segmentation_losses, sources
from dtc_jax.tasks.definition import Columns, Definition, Logit, Monitors, Words
from dtc_jax.tasks.inputs import make_preprocess, mean_of_views, network_fields, views
from dtc_jax.tasks.sources import Data
from dtc_jax.training.augment import augment
from dtc_jax.training.batches import Records
from dtc_jax.training.task import Batch, LossOut, PyTree, Task

_SOURCES = ("phantom", "manifest", "cubes")
_SIZES = ("small: less lesion than most patients have (0)", "large (1)")
_MONITORS: Monitors = {"dice": "max", "loss": "min"}


def load(config: ml_collections.ConfigDict) -> Data:
    """Generates (phantom), reads and builds the patches that `config` names; does nothing twice.

    Every lesion with a mask is used, whatever is known of its label, and so are scans without a
    lesion, which give patches from the lungs alone.

    Returns:
      Its table has one row a patch: `label` is 1 where it shows lesion, and `stratum` whether its
      patient has more lesion than the median patient with lesions, by which splits are stratified.

    Raises:
      InputError: see the manifest, the scans and the dataset builders.
      UsageError: an unknown source, or patients to be left out who are not in the data.
    """
    fields = config.data
    if fields.source not in _SOURCES:
        raise unknown_choice("config.data.source", fields.source, _SOURCES)
    path = sources.manifest_path(config)
    cubes = fields.source == "cubes"
    built, stored = sources.build(
        "ct_patches",
        {
            "manifest": str(path),
            "size_mm": tuple(fields.size_mm),
            "about": "cubes" if cubes else "lesions",
            "lesion_share": fields.lesion_share,
            "vessel_share": fields.vessel_share,
            "seed": fields.seed,
        },
        pathlib.Path(fields.folder),
    )
    rows = manifest.read_manifest(path, "patch_id" if cubes else "lesion_id", healthy=not cubes)
    people = _people(rows, config.split)
    table = stored.merge(people, on="patient_id", how="left", validate="many_to_one")
    kept, notes = _leave_out(table, fields.exclude_patients)
    if not kept.volume_mm3.any():
        raise InputError(f"{path}: no patch shows a lesion; add scans with lesions to learn from.")
    volumes = kept.groupby("patient_id").volume_mm3.sum().sort_index()
    volumes = volumes[volumes > 0]
    large = volumes.index[volumes.rank(method="first") > len(volumes) / 2]
    kept = kept.assign(
        label=(kept.volume_mm3 > 0).astype(int), stratum=kept.patient_id.isin(large).astype(int)
    )
    return Data(kept, Records(built, cache=fields.cache), [], notes)


def _people(rows: pd.DataFrame, split: Any) -> pd.DataFrame:
    """A row a patient of the manifest, with what decides on the side.

    That is the earliest of the patient's scans; what is empty there is taken from the next one.

    Raises:
      InputError: see `Rule.refuse_two_sides`.
    """
    make_rule(split).refuse_two_sides(rows)
    columns = ["cohort", "center", "split", "scan_order"]
    earliest = rows.sort_values(["scan_order", "image"])
    return earliest.groupby("patient_id")[columns].first().reset_index()


def _leave_out(table: pd.DataFrame, patients: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    absent = sorted(set(patients) - set(table.patient_id))
    if absent:
        raise UsageError(
            f"config.data.exclude_patients names {len(absent)} patients who are not in the data; "
            "check the spelling, and give a tuple."
        )
    notes = [f"left out by config.data.exclude_patients: {len(patients)}"] if patients else []
    return table[~table.patient_id.isin(list(patients))].reset_index(drop=True), notes


def split(config: ml_collections.ConfigDict, table: pd.DataFrame) -> pd.DataFrame:
    """`table` with fold and split: a patient's patches stay together; see `Rule.assign`.

    Raises:
      InputError: see `splits.assign`; or there is no lesion on one of the sides.
    """
    rule = make_rule(config.split)
    if rule.unit != "patient":
        raise UsageError("config.split.unit must be 'patient': patches of a scan overlap.")
    patients = table.drop_duplicates("patient_id")
    patients = patients.assign(lesion_id=patients.patient_id, label=patients.stratum)
    sides = rule.assign(patients, _SIZES, each_side_needs_both=False)
    rows = sides[["patient_id", "fold", "split"]].merge(
        table.drop(columns="split"), on="patient_id"
    )
    for fold, of_fold in rule.of_cohort(rows).groupby("fold"):
        for name in manifest.SPLITS:
            if not of_fold.label[of_fold.split == name].any():
                raise InputError(
                    f"split: no patch for {name} (fold {fold}) shows a lesion; add patients, or "
                    "change config.split (seed, folds, fractions, center) or the column `split`."
                )
    return rows.sort_values(["fold", "position"], ignore_index=True)


def weights(config: ml_collections.ConfigDict, training: pd.DataFrame) -> np.ndarray:
    """Every patch counts alike. # [N]

    Raises:
      InputError: no training patch shows a lesion.
    """
    if not (training.label > 0).any():
        raise InputError(
            f"none of the {len(training)} training patches shows a lesion; check the masks, or "
            "raise config.data.lesion_share."
        )
    return np.ones(len(training))


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
        weight = batch["valid"] * batch["weight"]
        overlap, found, true = _voxels(levels[0], target, config.predict.threshold)
        has_lesion = batch["valid"] * (true > 0)
        dice = 2.0 * overlap / jnp.maximum(found + true, 1.0)
        total = (weight * rows).sum()
        metrics = {
            "loss": (total, weight.sum()),
            "dice": ((has_lesion * dice).sum(), has_lesion.sum()),
        }
        return LossOut(total, weight.sum(), metrics, updates.get("batch_stats", {}))

    def predict(params: PyTree, batch_stats: PyTree, batch: Batch) -> dict[str, jax.Array]:
        window = crop(batch["image"], whole, jnp)  # [B, D, H, W]
        target = crop(batch["mask"], whole, jnp, edge=False)  # [B, D, H, W]
        logits = logit_of(params, batch_stats, window, target)
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
    """From windows in HU on the network's grid to logits [B, D, H, W]; the mask is not looked at.

    With `config.predict.mirror` they are the mean over the windows and their mirror images.
    """
    spec, network = make_predict_preprocess(config), make_network(config)
    mirrored = config.predict.mirror

    def logit(params: PyTree, batch_stats: PyTree, image: jax.Array, mask: jax.Array) -> jax.Array:
        x = normalize(image, None, spec, jnp)  # [B, D, H, W, 1]
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
        raise UsageError(f"config.predict: overlap is {overlap}; it must be in [0, 1).")
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
    )


DEFINITION = Definition(
    words=Words("a segmenter", "--segmenter", "SE V-Net", "patch", "configs/vnet.py:demo"),
    network=VNet,
    monitors=_MONITORS,
    table=patch_figures.CASES,
    cpu_flops=1.5e10,  # few channels on fine grids
    check=check,
    load=load,
    split=split,
    weights=weights,
    make_task=make_task,
    make_network=make_network,
    make_preprocess=make_preprocess,
    make_predict_preprocess=make_predict_preprocess,
    make_logit=make_logit,
    columns=columns,
    evaluate=patch_figures.evaluate,
    examples_per_lesion=lambda config: (
        1.0
        if config.data.source == "cubes" or config.data.lesion_share <= 0
        else 1.0 / config.data.lesion_share
    ),
)
