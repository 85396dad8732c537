"""What a run will cost, estimated from its configuration before any data are generated or built."""

import dataclasses
import math
import pathlib
import zipfile

import jax
import ml_collections
import numpy as np

from dtc_jax.cohort import phantom, selection
from dtc_jax.cohort.phantom import people
from dtc_jax.runs import data, fold
from dtc_jax.tasks import registry

# Whole training steps of SE-Net reach 25 to 60 GFLOP/s on two CPU cores (see benchmarks/); those of
# the segmenter, with few channels on fine grids, less.
_CPU_FLOPS = {"classification": 4e10, "segmentation": 1.5e10}
_QUICK = {"classification": "configs/senet.py:demo", "segmentation": "configs/vnet.py:demo"}
_LONG_MINUTES = 30


@dataclasses.dataclass(frozen=True)
class Cost:
    """An estimate; the runs that were measured took between half and twice as long.

    Attributes:
      examples: lesions or patches, of all cohorts; 0 where the data cannot be counted.
      networks: trained, one for each fold and candidate.
      steps: updates of one of them.
      flops: floating-point operations of the whole run.
      cpu_minutes: on two CPU cores.
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
    own, others = _examples(config)
    folds = config.split.folds
    tested = own / folds if folds > 0 else own * config.split.test_fraction
    validation = (own - tested) * config.split.validation_fraction
    train, views = config.train, 4 if config.predict.mirror else 1
    steps = int(own - tested - validation) // train.batch_size * train.epochs
    evaluations = math.ceil(train.epochs / train.evaluate_every_epochs)
    variants = fold.variants(config)
    flops = in_prediction = 0.0
    for variant in variants.values():
        in_training, in_prediction = _forward_flops(variant)
        flops += 3.0 * steps * train.batch_size * in_training
        flops += evaluations * validation * views * in_prediction
    splits = max(folds, 1)
    flops = splits * (flops + (own + others) * views * in_prediction)
    minutes = flops / _CPU_FLOPS[config.task] / 60
    return Cost(own + others, splits * len(variants), steps, flops, minutes)


def announce(config: ml_collections.ConfigDict, quick: str = "") -> None:
    """On a CPU, prints the time to expect, and the quick variant where it is long.

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
    is_long = cost.cpu_minutes >= _LONG_MINUTES
    advice = f"; for a quick look: --config={quick or _QUICK[config.task]}" if is_long else ""
    expected = _duration(cost.cpu_minutes)
    print(f"{config.task} on this CPU: {expected} ({what}){advice}", flush=True)


def _duration(minutes: float) -> str:
    if minutes < 1:
        return "under a minute"
    if minutes < 90:
        return f"about {minutes:.0f} min"
    return (
        f"about {minutes / 60:.0f} h" if minutes < 48 * 60 else f"about {minutes / 1440:.0f} days"
    )


def _examples(config: ml_collections.ConfigDict) -> tuple[int, int]:
    """How many there are of the cohort that is split, and of the others, which are only tested.

    Of a manifest only the length is known, an upper limit of the first. What is wrong with the data
    is said where they are read.
    """
    source = config.data.source
    if source == "medmnist3d":
        return _labels(data.existing(config.data.npz, "config.data.npz")), 0
    if source == "phantom":
        lesions = people.draw(phantom.PhantomSpec(**config.data.phantom.to_dict()))
        if config.task == "classification":
            lesions = selection.select(lesions, config.selection).table
        own = int((lesions.cohort == config.split.cohort).sum())
        others = len(lesions) - own
    elif source in ("manifest", "cubes"):
        path = data.existing(config.data.manifest, "config.data.manifest")
        own, others = max(path.read_bytes().count(b"\n") - 1, 0), 0
    else:
        return 0, 0
    if config.task == "segmentation" and source != "cubes" and config.data.lesion_share > 0:
        share = config.data.lesion_share
        return round(own / share), round(others / share)
    return own, others


def _labels(npz: pathlib.Path) -> int:
    """Of all splits; the images stay unread."""
    try:
        with npz.open("rb") as handle, np.load(handle) as arrays:
            return sum(len(arrays[key]) for key in arrays if key.endswith("_labels"))
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile):
        return 0


def _forward_flops(config: ml_collections.ConfigDict) -> tuple[float, float]:
    """Floating-point operations of the network on a crop in training and in prediction.

    Those of a training step are thrice the first.
    """
    task = registry.of(config)
    network = task.make_network(config)
    found = []
    for spec in (task.make_preprocess(config), task.make_predict_preprocess(config)):
        x = jax.ShapeDtypeStruct((1, *spec.shape, spec.channels), np.float32)
        variables = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), x)
        forward = jax.jit(lambda v, x: network.apply(v, x, train=False)).lower(variables, x)
        cost = forward.cost_analysis()
        found.append(float(cost["flops"]) if cost else 0.0)
    return found[0], found[1]
