"""A task and batches small enough to train in a blink, with a switch for what can go wrong."""

import dataclasses
import os
import signal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dtc_jax.training import loop, plan, resident
from dtc_jax.training import task as task_lib

ROWS = 24  # examples; three batches an epoch
BATCH = 8


class TinyNet(nn.Module):
    """A hidden layer with batch normalisation, then dropout from one key an example."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train, keys=None):
        x = nn.Dense(8, use_bias=False)(x.reshape(len(x), -1))  # [B, 8]
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, axis_name=self.axis_name)(x)
        x = nn.relu(x)
        if train:
            keep = jax.vmap(lambda key: jax.random.bernoulli(key, 0.8, (8,)))(keys)
            x = jnp.where(keep, x / 0.8, 0.0)
        return nn.Dense(1)(x)[:, 0]  # [B]


def _scaled(batch):
    return batch["image"].astype(jnp.float32) / 1000.0


def _init(key):
    variables = TinyNet().init(key, jnp.zeros((1, 8, 8, 8)), train=False)
    return variables["params"], variables["batch_stats"]


def _loss(params, batch_stats, batch, keys, axis_name):
    logits, changed = TinyNet(axis_name).apply(
        {"params": params, "batch_stats": batch_stats},
        _scaled(batch),
        train=True,
        keys=keys,
        mutable=["batch_stats"],
    )
    weights = batch["valid"] * (1.0 + batch["label"])  # uneven over the devices on purpose
    losses = optax.sigmoid_binary_cross_entropy(logits, batch["label"])
    hits = (logits > 0) == (batch["label"] > 0.5)
    return task_lib.LossOut(
        sum=jnp.sum(losses * weights),
        weight=jnp.sum(weights),
        metrics={"accuracy": (jnp.sum(hits * batch["valid"]), jnp.sum(batch["valid"]))},
        batch_stats=changed["batch_stats"],
    )


def _predict(params, batch_stats, batch):
    variables = {"params": params, "batch_stats": batch_stats}
    logits = TinyNet().apply(variables, _scaled(batch), train=False)
    return {"logit": logits, "label": batch["label"], "index": batch["index"]}


def _summarize(predictions):
    logits = np.concatenate([p["logit"] for p in predictions]).astype(np.float64)
    labels = np.concatenate([p["label"] for p in predictions])
    return {
        "loss": float(np.mean(np.logaddexp(0.0, logits) - labels * logits)),
        "n": float(len(labels)),
    }


def rows(index):
    """The examples of these numbers, always the same."""
    index = np.asarray(index, np.int32)
    label = (index % 3 == 0).astype(np.float32)
    noise = np.random.default_rng(0).normal(size=(ROWS, 8, 8, 8))[index % ROWS]
    image = 300 * noise + 400 * label[:, None, None, None]
    return {
        "image": image.astype(np.int16),
        "mask": np.ones(image.shape, np.uint8),
        "extent": np.tile(np.array([0, 8], np.int32), (len(index), 3, 1)),
        "label": label,
        "index": index,
        "valid": np.ones(len(index), np.float32),
    }


class TrainBatches:
    """Endless, reshuffled each epoch, with a position.

    `signal_at` sends this process a signal while the batch of that number (from 0) is made, as a
    scheduler would in the middle of a step; `break_at` fails there; `poison_at` gives a NaN.
    """

    def __init__(self, signal_at=None, number=signal.SIGTERM, poison_at=None, break_at=None):
        self.position, self.signal_at, self.number = 0, signal_at, number
        self.poison_at, self.break_at = poison_at, break_at

    def __next__(self):
        if self.position == self.signal_at:
            os.kill(os.getpid(), self.number)
        if self.position == self.break_at:
            raise KeyError("killed")
        epoch, place = divmod(self.position, ROWS // BATCH)
        order = np.random.default_rng(epoch).permutation(ROWS)
        batch = rows(order[place * BATCH : (place + 1) * BATCH])
        if self.position == self.poison_at:
            batch["label"][0] = np.nan
        self.position += 1
        return batch

    def get_state(self):
        return {"position": self.position}

    def set_state(self, state):
        self.position = state["position"]


class TrainRows(TrainBatches):
    """The same, as rows of the set of all examples."""

    def __next__(self):
        return {"row": super().__next__()["index"]}


def kept(train_rows):
    """The batches of `TrainRows`, with the set."""
    examples = [{name: values[0] for name, values in rows([i]).items()} for i in range(ROWS)]
    return resident.Resident(examples, np.arange(ROWS), train_rows)


def validation_batches():
    """Ten examples in two batches of eight, the second padded."""
    yield rows(np.arange(8))
    tail = rows([8, 9, 0, 0, 0, 0, 0, 0])
    tail["valid"][2:] = 0
    yield tail


def fit(workdir, train_batches=None, validation=None, **changes):
    """Twelve steps, four epochs, on one device; `changes` are of `Plan`, `Watch` and `loop.fit`."""
    settings = {
        "seed": 5,
        "total_steps": 12,
        "steps_per_epoch": 3,
        "evaluate_every": 4,
        "log_every": 3,
        "checkpoint_every": 5,
        "ema_decay": 0.9,
        "devices": jax.devices()[:1],
        **changes,
    }
    return loop.fit(
        settings.pop("task", Tiny.task),
        settings.pop("make_optimizer", lambda total_steps: Tiny.optimizer),
        train_batches or TrainBatches(),
        validation or validation_batches,
        workdir,
        _taken(plan.Plan, settings),
        _taken(plan.Watch, settings),
        **settings,
    )


def _taken(kind, settings):
    """An instance of a dataclass of those settings that are its fields; they are removed."""
    names = [field.name for field in dataclasses.fields(kind) if field.name in settings]
    return kind(**{name: settings.pop(name) for name in names})


class Tiny:
    """Everything above: task, optimizer, rows, batches of training and validation, a run."""

    task = task_lib.Task(_init, _loss, _predict, _summarize, monitor="loss", mode="min")
    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, 100))
    rows = staticmethod(rows)
    TrainBatches = TrainBatches
    TrainRows = TrainRows
    kept = staticmethod(kept)
    validation_batches = staticmethod(validation_batches)
    fit = staticmethod(fit)


@pytest.fixture(scope="session")
def tiny():
    return Tiny
