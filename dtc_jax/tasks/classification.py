"""SE-Net as a `Task`: the probability that a lesion is RAI-refractory (the positive class)."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from dtc_jax.imaging.preprocess import Preprocess, normalize, preprocess
from dtc_jax.models.senet import SENet
from dtc_jax.statistics import roc
from dtc_jax.tasks.inputs import make_preprocess, network_fields, views
from dtc_jax.training import losses
from dtc_jax.training.augment import augment
from dtc_jax.training.task import Batch, LossOut, PyTree, Task

NETWORK = SENet
MONITORS = ("auc", "loss", "accuracy")


def make_task(config: ml_collections.ConfigDict, training_labels: np.ndarray) -> Task:
    """The task of `config` (fields preprocess, augment, model, loss, predict, train.monitor).

    Args:
      config: see configs/senet.py.
      training_labels: [N] of 0 and 1, of the training split alone; they set the class weights.
    """
    spec = make_preprocess(config)
    network, forward = make_network(config), make_forward(config)
    weights = losses.class_weights(training_labels, config.loss.class_weight)

    def init(key: jax.Array) -> tuple[PyTree, PyTree]:
        x = jnp.zeros((1, *spec.shape, spec.channels))
        variables = network.init(key, x, train=False)
        return variables["params"], variables.get("batch_stats", {})

    def augmented(key: jax.Array, image: jax.Array, mask: jax.Array, extent: jax.Array):
        hu, region = augment(key, image, mask, extent, spec, config.augment)
        return normalize(hu, region, spec, jnp)

    def loss(
        params: PyTree, batch_stats: PyTree, batch: Batch, keys: jax.Array, axis_name: str | None
    ) -> LossOut:
        augment_keys, dropout_keys = jax.vmap(jax.random.split, out_axes=1)(keys)  # [B], [B]
        x = jax.vmap(augmented)(augment_keys, batch["image"], batch["mask"], batch["extent"])
        logits, updates = network.clone(axis_name=axis_name).apply(
            {"params": params, "batch_stats": batch_stats},
            x,
            train=True,
            keys=dropout_keys,
            mutable=["batch_stats"],
        )
        total, weight = losses.sigmoid_cross_entropy(
            logits, batch["label"], batch["valid"], weights, config.loss.label_smoothing
        )
        correct = ((logits > 0) == (batch["label"] > 0.5)) * batch["valid"]
        metrics = {
            "loss": (total, weight),
            "accuracy": (correct.sum(), batch["valid"].sum()),
        }
        return LossOut(total, weight, metrics, updates.get("batch_stats", {}))

    def predict(params: PyTree, batch_stats: PyTree, batch: Batch) -> dict[str, jax.Array]:
        x = preprocess(batch["image"], batch["mask"], spec, jnp)  # [B, D, H, W, C]
        logit = forward(params, batch_stats, x)  # [B]
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
    return Task(init, loss, predict, summarize, monitor, "min" if monitor == "loss" else "max")


def make_predict_preprocess(config: ml_collections.ConfigDict) -> Preprocess:
    """A lesion is predicted from the field of view it is trained on."""
    return make_preprocess(config)


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
    return SENet(**network_fields(config))


def make_forward(
    config: ml_collections.ConfigDict,
) -> Callable[[PyTree, PyTree, jax.Array], jax.Array]:
    """(params, batch_stats, x [B, D, H, W, C] in [0, 1]) -> logits [B].

    With `config.predict.mirror` they are the mean over `x` and its mirror images.
    """
    network = make_network(config)

    def forward(params: PyTree, batch_stats: PyTree, x: jax.Array) -> jax.Array:
        variables = {"params": params, "batch_stats": batch_stats}
        logits = network.apply(variables, views(x, config.predict.mirror), train=False)  # [V * B]
        assert isinstance(logits, jax.Array)  # apply may return a pair, but not this one
        return logits.reshape(-1, len(x)).mean(axis=0)

    return forward


def columns(outputs: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What `predict` says of each lesion, by column: its score, the probability. # [N]"""
    logit = np.concatenate([out["logit"] for out in outputs]).astype(np.float64)
    return {"score": 1.0 / (1.0 + np.exp(-logit))}
