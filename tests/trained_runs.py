"""Small trained networks, the data that they were trained on, and chests to try them on."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import jax
import ml_collections
import numpy as np
import pytest

from configs import senet, vnet
from dtc_jax.experiment import workdir
from dtc_jax.imaging import volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.runs import train
from dtc_jax.tasks import registry, segmentation
from dtc_jax.tasks.trained import Member, TrainedNetwork
from dtc_jax.training import checkpoint, optimizer, state
from dtc_jax.training.result import Progress

SHAPE, SPACING_MM = (30, 50, 64), np.array([5.0, 3.6, 3.6])
AFFINE = np.zeros((4, 4))
AFFINE[[2, 1, 0, 3], [0, 1, 2, 3]] = (*SPACING_MM, 1.0)  # (z, y, x) to RAS


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its configuration and its folder."""

    config: ml_collections.ConfigDict
    workdir: pathlib.Path


def ball(center: Sequence[float], radii_mm: float | Sequence[float]) -> np.ndarray:
    away_mm = (np.moveaxis(np.indices(SHAPE), 0, -1) - center) * SPACING_MM
    return ((away_mm / radii_mm) ** 2).sum(axis=-1) < 1


def chest(seed: int, nodules: int = 2) -> tuple[Volume, Volume]:
    """A body with two lungs, and a numbered nodule in each."""
    rng = np.random.default_rng(seed)
    _, y, x = np.indices(SHAPE)
    hu = np.where(((y - 25) / 23) ** 2 + ((x - 32) / 30) ** 2 < 1, 40, -1000).astype(float)
    for side in (18, 46):
        hu[ball((15, 25, side), (70.0, 65.0, 40.0))] = -860
    numbers = np.zeros(SHAPE, np.uint8)
    for number, side in list(enumerate((18, 46), start=1))[:nodules]:
        center = (rng.integers(11, 18), rng.integers(19, 31), side)
        numbers[ball(center, rng.integers(11, 15))] = number
    hu[numbers > 0] = rng.choice([-100, 60])
    hu += rng.normal(0, 15, SHAPE)
    return Volume(np.rint(hu).astype(np.int16), AFFINE), Volume(numbers, AFFINE)


@pytest.fixture(scope="session")
def chests(tmp_path_factory) -> pathlib.Path:
    """A folder of three chests, N.nii.gz and N-mask.nii.gz: two nodules each, none in the last."""
    folder = tmp_path_factory.mktemp("chests")
    for i in range(3):
        image, numbers = chest(i, nodules=0 if i == 2 else 2)
        volume.write(folder / f"{i}.nii.gz", image)
        volume.write(folder / f"{i}-mask.nii.gz", numbers)
    return folder


@pytest.fixture(scope="session")
def segmenter(tmp_path_factory) -> Run:
    """A V-Net whose weights say that what is denser than -400 HU is a nodule."""
    folder = tmp_path_factory.mktemp("segmenter") / "run"
    config = vnet.get_config("demo").unlock()
    # Smoothed to 4 mm, a nodule would run into the chest wall at this threshold.
    config.preprocess.update(crop_mm=(64,) * 3, spacing_mm=4.0, antialias="none")
    config.predict.update(crop_mm=(64,) * 3, min_volume_mm3=200.0)
    config.model.update(widths=(4, 8), convolutions=(1, 1), se="none")
    task = segmentation.make_task(config)
    adam = optimizer.make_optimizer(config.optimizer, total_steps=1)
    new = jax.jit(lambda: state.create(task, adam, seed=0, ema=False))()
    params = jax.tree.map(np.zeros_like, jax.device_get(new.params))
    for place, leaf in jax.tree_util.tree_leaves_with_path(params):
        if jax.tree_util.keystr(place).endswith("['scale']"):
            leaf[:] = 1
    params["decoder1"]["conv1"]["kernel"][1, 1, 1, 4, 0] = 1  # the first channel of the skip
    params["head1"]["kernel"][0, 0] = 40
    params["head1"]["bias"][0] = -40 * 600 / 1400
    workdir.claim(folder, config)
    with checkpoint.Checkpoints(folder / "checkpoints") as checkpoints:
        known = Progress(best_step=0, best_metrics={"dice": 1.0, "loss": 0.0})
        made = jax.device_get(new).replace(params=params)
        checkpoints.save(made, dataclasses.asdict(known), best_step=0)
    return Run(config, folder)


@pytest.fixture(scope="session")
def classifier(study, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("classifier")
    config = senet.get_config("demo").unlock()
    config.data.update(
        source="manifest", manifest=str(study), folder=str(folder / "data"), size_mm=(20, 20, 20)
    )
    config.preprocess.update(crop_mm=(16, 16, 16), spacing_mm=1.0)
    config.model.update(width=4, stages=1)
    config.optimizer.learning_rate = 0.02
    config.train.update(epochs=3, batch_size=8, evaluate_every_epochs=1)
    config.predict.batch_size = 8
    config.write_report = False
    train.run(config, folder / "run")
    return Run(config, folder / "run")


@pytest.fixture(scope="session")
def folds(study, classifier, tmp_path_factory) -> Run:
    """Two folds, in each of which one of two fields of view is chosen."""
    folder = tmp_path_factory.mktemp("folds")
    config = classifier.config.copy_and_resolve_references()
    config.split.folds = 2
    config.train.epochs = 1
    config.candidates = {
        "near": {"preprocess": {"crop_mm": (12, 12, 12)}},
        "far": {"preprocess": {"crop_mm": (20, 20, 20), "spacing_mm": 2.0}},
    }
    train.run(config, folder / "run")
    return Run(config, folder / "run")


@pytest.fixture(scope="session")
def predict(call, segmenter, classifier) -> Callable[..., int]:
    """Calls launch.py to predict with the two small networks."""

    def predict(*arguments: object) -> int:
        networks = (f"--segmenter={segmenter.workdir}", f"--classifier={classifier.workdir}")
        return call("--mode=predict", *networks, *arguments)

    return predict


@pytest.fixture(scope="session")
def answered(predict, chests, tmp_path_factory) -> pathlib.Path:
    """The folder of the answer to the first chest; not to be changed."""
    out = tmp_path_factory.mktemp("answered") / "out"
    assert predict(f"--scan={chests / '0.nii.gz'}", f"--out={out}") == 0
    return out


@pytest.fixture(scope="session")
def drawn() -> Callable[..., TrainedNetwork]:
    """Makes a network of a configuration; no weight or statistic has a special value."""

    def drawn(config: ml_collections.ConfigDict, members: int = 1) -> TrainedNetwork:
        task = registry.of(config)
        shapes = jax.eval_shape(task.make_task(config).init, jax.random.key(0))
        rng = np.random.default_rng(0)

        def draw(place, leaf):
            name = jax.tree_util.keystr(place)
            if name.endswith(("['scale']", "['var']")):
                return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
            fan_in = max(1, np.prod(leaf.shape[:-1]))
            return rng.normal(0, fan_in**-0.5, leaf.shape).astype(np.float32)

        trees = [jax.tree_util.tree_map_with_path(draw, shapes) for _ in range(members)]
        return TrainedNetwork(task, tuple(Member(config, *tree, {}) for tree in trees), 0.5)

    return drawn
