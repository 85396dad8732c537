"""What a run will cost, estimated from its configuration before any data are generated or built."""

import dataclasses
import functools
import math
import pathlib
import zipfile

import flax.linen as nn
import jax
import ml_collections
import numpy as np

from dtc_jax import storage
from dtc_jax.cohort.phantom import people
from dtc_jax.cohort.split_rule import make_rule
from dtc_jax.tasks import inputs, registry, sources

_KEPT = 32  # counts of operations
_LONG_MINUTES = 30
_SPREAD = (0.5, 5.0)  # of what runs took that were measured, in times of their `cpu_minutes`


@dataclasses.dataclass(frozen=True)
class Cost:
    """An estimate of the size of a run.

    Attributes:
      examples: lesions or patches, of all cohorts; 0 where the data cannot be counted.
      networks: trained, one for each fold and candidate.
      steps: updates of one of them; the most, where candidates differ.
      flops: floating-point operations of the whole run.
      cpu_minutes: on two idle CPU cores, by the count of operations; see `_SPREAD`.
    """

    examples: int
    networks: int
    steps: int
    flops: float
    cpu_minutes: float


def expected_cost(config: ml_collections.ConfigDict) -> Cost:
    """The cost of a whole run of `config`, as if every candidate were trained to its end.

    Nothing is generated, built or compiled: the phantom's lesions are drawn without their scans,
    and the rows of a manifest are counted without being read.

    Raises:
      InputError: config.data names no file.
    """
    rule = make_rule(config.split)
    own, others = _examples(config)
    tested = own / rule.folds if rule.is_cross_validation else own * rule.test_fraction
    validation = (own - tested) * rule.validation_fraction if rule.has_validation else 0.0
    views = 4 if config.predict.mirror else 1
    most_steps, flops, in_prediction = 0, 0.0, 0.0
    for variant in inputs.variants(config).values():
        train, epochs = variant.train, inputs.epochs(variant)
        steps = int(own - tested - validation) // train.batch_size * epochs
        most_steps = max(most_steps, steps)
        in_training, in_prediction = forward_flops(variant)
        of_variant = 3.0 * steps * train.batch_size * in_training
        evaluations = math.ceil(epochs / train.evaluate_every_epochs)
        of_variant += evaluations * validation * views * in_prediction
        flops += inputs.networks(variant) * of_variant
    splits = max(rule.folds, 1)
    flops = splits * (flops + inputs.networks(config) * (own + others) * views * in_prediction)
    minutes = flops / registry.of(config).cpu_flops / 60
    return Cost(own + others, splits * inputs.trained_networks(config), most_steps, flops, minutes)


def announce(config: ml_collections.ConfigDict, quick: str = "") -> None:
    """On a CPU, prints the number of steps, and how long they take and the quick variant if long.

    A count of operations tells an hour from a minute, but not how busy and how fast this machine
    is, so it gives a range; the training says more, once it has timed its first steps.

    Args:
      config: of the run.
      quick: the quick variant, FILE:VARIANT; empty for that of the task.

    Raises:
      InputError: see `expected_cost`.
    """
    if jax.default_backend() != "cpu":
        return
    cost = expected_cost(config)
    if not cost.examples:
        return
    networks = f"{cost.networks} networks, each of " if cost.networks > 1 else ""
    what = f"{networks}{cost.steps} steps, on about {cost.examples} examples"
    advice = "the time left is printed once a few steps have been timed"
    if cost.cpu_minutes >= _LONG_MINUTES:
        quick = quick or registry.of(config).words.quick_config
        least, most = (_duration(times * cost.cpu_minutes) for times in _SPREAD)
        advice += (
            f". By the number of its operations it takes {least} to {most}; for a quick look: "
            f"--config={quick}"
        )
    print(f"{config.task} on this CPU: {what}; {advice}", flush=True)


def _duration(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.0f} h"


def _examples(config: ml_collections.ConfigDict) -> tuple[int, int]:
    """How many there are of the cohort that is split, and of the others, which are only tested.

    Of a manifest only the length is known, an upper limit of the first. What is wrong with the data
    is said where they are read.
    """
    task, source = registry.of(config), config.data.source
    if source == "medmnist3d":
        return _labels(storage.existing_file(config.data.npz, "config.data.npz")), 0
    if source == "phantom":
        lesions = task.select(config, people.draw(sources.phantom_spec(config)))
        own = len(make_rule(config.split).of_cohort(lesions))
        others = len(lesions) - own
    elif source in ("manifest", "cubes"):
        path = storage.existing_file(config.data.manifest, "config.data.manifest")
        own, others = max(path.read_bytes().count(b"\n") - 1, 0), 0
    else:
        return 0, 0
    per_lesion = task.examples_per_lesion(config)
    return round(own * per_lesion), round(others * per_lesion)


def _labels(npz: pathlib.Path) -> int:
    """Of all splits; the images stay unread."""
    try:
        with npz.open("rb") as handle, np.load(handle) as arrays:
            return sum(len(arrays[key]) for key in arrays if key.endswith("_labels"))
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile):
        return 0


def forward_flops(config: ml_collections.ConfigDict) -> tuple[float, float]:
    """Floating-point operations of the network on a crop in training and in prediction.

    Those of a training step are three times the first.
    """
    task = registry.of(config)
    network = task.make_network(config)
    specs = task.make_preprocess(config), task.make_predict_preprocess(config)
    in_training, in_prediction = (_flops(network, spec.shape, spec.channels) for spec in specs)
    return in_training, in_prediction


@functools.lru_cache(_KEPT)  # tracing takes a second, and most networks of a process are alike
def _flops(network: nn.Module, shape: tuple[int, int, int], channels: int) -> float:
    x = jax.ShapeDtypeStruct((1, *shape, channels), np.float32)
    variables = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), x)
    forward = jax.jit(lambda v, x: network.apply(v, x, train=False)).lower(variables, x)
    cost = forward.cost_analysis()
    return float(cost["flops"]) if cost else 0.0
