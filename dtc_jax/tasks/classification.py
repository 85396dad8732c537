"""SE-Net: the probability that a lesion is RAI-refractory (the positive class)."""

import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pandas as pd

from dtc_jax import storage
from dtc_jax.cohort import manifest, phantom, selection
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.errors import InputError, UsageError, unknown_choice
from dtc_jax.imaging.dicom import parameters
from dtc_jax.imaging.preprocess import normalize, preprocess
from dtc_jax.models.senet import SENet
from dtc_jax.statistics import roc, study, threshold
from dtc_jax.tasks import inputs, lesion_figures, losses, ratings, sources
from dtc_jax.tasks.definition import Columns, Definition, Monitors, Words
from dtc_jax.tasks.inputs import Logit, make_preprocess
from dtc_jax.tasks.sources import Data
from dtc_jax.training import mixup
from dtc_jax.training.augment import augment
from dtc_jax.training.batches import Records
from dtc_jax.training.task import Batch, LossOut, PyTree, Task

_SOURCES = ("phantom", "manifest", "medmnist3d")
_MIXUP = 64  # folded into a key whose first numbers are for the stages
_MONITORS: Monitors = {"auc": "max", "loss": "min", "accuracy": "max"}


def load(config: ml_collections.ConfigDict) -> Data:
    """Generates (phantom), reads, selects and builds what `config` names; does nothing twice.

    Returns:
      Its table has one row a labelled lesion of the study: the manifest's columns and the measures
      of its stored crop. So has that of the lesions that only lack a label.

    Raises:
      InputError: see the manifest, the scans and the dataset builders.
      UsageError: config.data.source is unknown.
    """
    folder = pathlib.Path(config.data.folder)
    if config.data.source == "medmnist3d":
        npz = storage.existing_file(config.data.npz, "config.data.npz")
        built, stored = sources.build("medmnist3d", {"npz": npz}, folder)
        table, flow, notes = stored.assign(cohort="primary"), [], []
        beside = table[:0]
    elif config.data.source in ("phantom", "manifest"):
        path = sources.manifest_path(config)
        notes = [_attainable(config)] if config.data.source == "phantom" else []
        rows = manifest.read_manifest(path, healthy=True)
        with_lesion, healthy = sources.split_by_lesion(rows)
        if with_lesion.empty:
            raise InputError(f"{path}: has only scans without a lesion; add rows of lesions.")
        boxed = int(healthy.lesion_id.notna().sum())
        for count, what in (
            (len(healthy) - boxed, "scans without a lesion"),
            (boxed, "lesions with a box and no mask"),
        ):
            if count:
                notes.append(f"{what}, not used by the classifier: {count}")
        size_mm = tuple(config.data.size_mm)
        parameters = {"manifest": str(path), "size_mm": size_mm}
        built, stored = sources.build("lesion_crops", parameters, folder)
        notes += sources.build_notes(built)
        chosen = selection.select(with_lesion, config.selection, str(path))
        table, flow, beside = chosen.table, chosen.flow, chosen.unlabelled
    else:
        raise unknown_choice("config.data.source", config.data.source, _SOURCES)
    notes = [*sources.about_lesions(config), *notes]
    records = Records(built, cache=config.data.cache)
    return Data(_join(table, stored), records, flow, notes, _join(beside, stored))


def _attainable(config: ml_collections.ConfigDict) -> str:
    auc = phantom.attainable_auc(sources.phantom_spec(config))
    return f"phantom cohort: attainable AUC {auc:.3f}"


def _join(table: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Adds the stored measures and the record's position; the mask's diameter replaces none.

    A diameter given in the manifest stays apart, as `diameter_given_mm`. How a scan was acquired is
    what the manifest says; where it says nothing, what a DICOM header did.
    """
    table = table.rename(columns={"diameter_mm": "diameter_given_mm"})
    for column in [c for c in parameters.COLUMNS if c in table and c in stored]:
        said = table.lesion_id.map(stored.set_index("lesion_id")[column])
        table[column] = table[column].where(table[column].notna(), said)
    new = [c for c in stored.columns if c == "lesion_id" or c not in table.columns]
    joined = table.merge(stored[new], on="lesion_id", how="left", validate="one_to_one")
    if joined.position.isna().any():
        missing = joined.lesion_id[joined.position.isna()].iloc[0]
        raise InputError(f"lesion {missing} is not among the built crops; delete the built folder.")
    return joined.astype({"position": int})


def split(config: ml_collections.ConfigDict, table: pd.DataFrame) -> pd.DataFrame:
    """`table` with fold and split, see `split_rule.Rule.assign`."""
    return make_rule(config.split).assign(table)


def weights(config: ml_collections.ConfigDict, training: pd.DataFrame) -> np.ndarray:
    """The weight of each training lesion in the loss, by its class; 1 without a label. # [N]"""
    label = training.label.to_numpy(float)
    is_labelled = np.isfinite(label)
    negative, positive = losses.class_weights(label[is_labelled], config.loss.class_weight)
    by_class = np.where(label == 1, positive, negative)
    return np.where(is_labelled, by_class, 1.0) * ratings.weights(config, training)


def make_task(config: ml_collections.ConfigDict) -> Task:
    """What the trainer knows of the task (fields preprocess, augment, model, loss, train.monitor).

    Args:
      config: see configs/senet.py.
    """
    spec = make_preprocess(config)
    network, logit_of = make_network(config), make_logit(config)
    alpha, unlabelled = config.augment.get("mixup", 0.0), ratings.learns_unlabelled(config)
    rating_weights = jnp.asarray(list(ratings.auxiliary(config).values()), jnp.float32)  # [A]

    def labelled(weights: jax.Array, labels: jax.Array) -> jax.Array:
        """`weights`, and 0 where the label is unknown, which only some runs allow. # [B]"""
        return jnp.where(jnp.isfinite(labels), weights, 0.0) if unlabelled else weights

    def init(key: jax.Array) -> tuple[PyTree, PyTree]:
        x = jnp.zeros((1, *spec.shape, spec.channels))
        variables = network.init(key, x, train=False)
        return variables["params"], variables.get("batch_stats", {})

    def augmented(key: jax.Array, image: jax.Array, mask: jax.Array, extent: jax.Array):
        one = augment(key, image, mask, extent, spec, config.augment)
        return normalize(one.hu, one.mask, spec, jnp)

    def loss(
        params: PyTree, batch_stats: PyTree, batch: Batch, keys: jax.Array, axis_name: str | None
    ) -> LossOut:
        augment_keys, dropout_keys = jax.vmap(jax.random.split, out_axes=1)(keys)  # [B], [B]
        x = jax.vmap(augmented)(augment_keys, batch["image"], batch["mask"], batch["extent"])
        # targets [B, 1 + A] and weights [B]
        rows = (batch.get("targets", batch["label"][:, None]), batch["valid"] * batch["weight"])
        learned = [(rows, jnp.ones(()))]
        if alpha > 0:
            mixup_keys = jax.vmap(jax.random.fold_in, (0, None))(dropout_keys, _MIXUP)
            x, learned = mixup.mixed(mixup_keys, x, rows, alpha, axis_name)
        logits, updates = network.clone(axis_name=axis_name).apply(
            {"params": params, "batch_stats": batch_stats},
            x,
            train=True,
            keys=dropout_keys,
            mutable=["batch_stats", "ratings"],
        )

        def summed(each: Callable[[jax.Array, jax.Array], jax.Array]) -> losses.Sums:
            """The loss and the weight of the rows, each of which counts for `each` of it."""
            total, weight = jnp.zeros(()), jnp.zeros(())
            for (targets, weights), share in learned:
                counted = each(share * weights, targets[:, 0])
                entropy, _ = losses.sigmoid_cross_entropy(
                    logits,
                    targets[:, 0],
                    labelled(counted, targets[:, 0]),
                    config.loss.label_smoothing,
                )
                total, weight = total + entropy, weight + counted.sum()
                if len(rating_weights):
                    (rated,) = updates["ratings"]["ratings"]  # [B, A]
                    total += losses.squared_errors(rated, targets[:, 1:], counted, rating_weights)
            return total, weight

        total, weight = summed(lambda weights, labels: weights)
        valid = labelled(batch["valid"], batch["label"])
        correct = ((logits > 0) == (batch["label"] > 0.5)) * valid
        metrics = {
            "loss": summed(labelled) if unlabelled else (total, weight),
            "accuracy": (correct.sum(), valid.sum()),
        }
        return LossOut(total, weight, metrics, updates.get("batch_stats", {}))

    def predict(params: PyTree, batch_stats: PyTree, batch: Batch) -> dict[str, jax.Array]:
        logit = logit_of(params, batch_stats, batch["image"], batch["mask"])  # [B]
        return {"index": batch["index"], "label": batch["label"], "logit": logit}

    def summarize(outputs: Sequence[dict[str, np.ndarray]]) -> dict[str, float]:
        label = np.concatenate([out["label"] for out in outputs])
        logit = np.concatenate([out["logit"] for out in outputs]).astype(np.float64)
        cross_entropy = np.logaddexp(0.0, logit) - label * logit
        return {
            "auc": float(roc.auc(label, logit)),
            "loss": float(cross_entropy.mean()),
            "accuracy": float(np.mean((logit > 0) == (label > 0.5))),
        }

    monitor = config.train.monitor
    return Task(init, loss, predict, summarize, monitor, _MONITORS[monitor])


def make_features(
    config: ml_collections.ConfigDict,
) -> Callable[[PyTree, PyTree, Batch], dict[str, jax.Array]]:
    """In place of a task's `predict`: index [B] and what the last layer sees, features [B, C]."""
    spec, network = make_preprocess(config), make_network(config)

    def features(params: PyTree, batch_stats: PyTree, batch: Batch) -> dict[str, jax.Array]:
        x = preprocess(batch["image"], batch["mask"], spec, jnp)  # [B, D, H, W, C]
        variables = {"params": params, "batch_stats": batch_stats}
        _, state = network.apply(variables, x, train=False, mutable=["intermediates"])
        (last,) = state["intermediates"]["features"]  # [B, D/2^s, H/2^s, W/2^s, C]
        return {"index": batch["index"], "features": last.mean(axis=(1, 2, 3))}

    return features


def make_network(config: ml_collections.ConfigDict) -> SENet:
    """The network of `config.model`."""
    return SENet(**inputs.network_fields(config), ratings=len(ratings.auxiliary(config)))


def make_logit(config: ml_collections.ConfigDict) -> Logit:
    """What the networks of `config` decide together, see `_make_logit`."""
    return inputs.together(config, _make_logit)


def _make_logit(config: ml_collections.ConfigDict) -> Logit:
    """From stored crops (HU at 1 mm) and masks to logits [B], the mean over mirror images."""
    spec, network, mirrored = make_preprocess(config), make_network(config), config.predict.mirror

    def logit(params: PyTree, batch_stats: PyTree, image: jax.Array, mask: jax.Array) -> jax.Array:
        x = preprocess(image, mask, spec, jnp)  # [B, D, H, W, C]
        variables = {"params": params, "batch_stats": batch_stats}
        logits = network.apply(variables, inputs.views(x, mirrored), train=False)  # [V * B]
        assert isinstance(logits, jax.Array)  # apply may return a pair, but not this one
        return inputs.mean_of_views(logits, x.shape[0], mirrored)

    return logit


def tempered(params: PyTree, temperature: float) -> PyTree:
    """The parameters with which the logit is divided by `temperature`: of all that adds to it."""

    def divided(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf / temperature, tree)

    result = {**params, "head": divided(params["head"])}
    if "measures" in params:
        result["measures"] = {
            **params["measures"],
            "out": divided(params["measures"]["out"]),
        }
    return result


def columns(outputs: Sequence[dict[str, np.ndarray]]) -> Columns:
    """The outputs of `predict` by column: the score of each lesion, its probability. # [N]"""
    logit = np.concatenate([out["logit"] for out in outputs]).astype(np.float64)
    return {"score": 1.0 / (1.0 + np.exp(-logit))}


def check(config: ml_collections.ConfigDict) -> None:
    """Raises UsageError if config.threshold, .loss or .report has an impossible value."""
    ratings.check(config)
    if "threshold" in config:
        threshold.parse(config.threshold)
    if "report" in config:
        try:
            study.Settings(**config.report)
        except UsageError as error:
            raise UsageError(f"config.report.{error}") from error


DEFINITION = Definition(
    words=Words("a classifier", "--classifier", "SE-Net", "configs/senet.py:demo"),
    network=SENet,
    monitors=_MONITORS,
    table=lesion_figures.PREDICTIONS,
    cpu_flops=4e10,  # whole steps reach 2.5e10 to 6e10 on two cores, see benchmarks/
    check=check,
    load=load,
    split=split,
    weights=weights,
    targets=ratings.targets,
    make_task=make_task,
    make_network=make_network,
    make_preprocess=make_preprocess,
    make_predict_preprocess=make_preprocess,
    make_logit=make_logit,
    columns=columns,
    evaluate=lesion_figures.evaluate,
    make_features=make_features,
    tempered=tempered,
    select=lambda config, lesions: selection.select(lesions, config.selection).table,
)
