"""A task is one file and one line: this one trains, resumes and is evaluated by launch.py."""

import json
import os
import signal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from configs import senet
from dtc_jax.errors import Stopped
from dtc_jax.experiment import network
from dtc_jax.imaging.preprocess import preprocess
from dtc_jax.runs import train
from dtc_jax.tasks import classification, registry
from dtc_jax.tasks.definition import Definition, Evaluation, Words
from dtc_jax.tasks.inputs import make_preprocess
from dtc_jax.training.task import LossOut, Task


class Mean(nn.Module):
    """A linear unit on the mean of the crop."""

    width: int = 1

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(self.width)(x.mean(axis=(1, 2, 3)))[:, 0]


def make_logit(config):
    spec = make_preprocess(config)

    def logit(params, batch_stats, image, mask):
        return Mean().apply({"params": params}, preprocess(image, mask, spec, jnp))

    return logit


def make_task(config) -> Task:
    logit, spec = make_logit(config), make_preprocess(config)

    def init(key):
        return Mean().init(key, jnp.zeros((1, *spec.shape, spec.channels)))["params"], {}

    def loss(params, batch_stats, batch, keys, axis_name):
        error = logit(params, {}, batch["image"], batch["mask"]) - batch["label"]
        weight = batch["valid"] * batch["weight"]
        total = (weight * error**2).sum()
        return LossOut(total, weight.sum(), {"loss": (total, weight.sum())}, {})

    def predict(params, batch_stats, batch):
        value = logit(params, {}, batch["image"], batch["mask"])
        return {"index": batch["index"], "error": (value - batch["label"]) ** 2}

    def summarize(outputs):
        return {"loss": float(np.concatenate([out["error"] for out in outputs]).mean())}

    return Task(init, loss, predict, summarize, "loss", "min")


def evaluate(config, data, trained, rows, run):
    errors = rows.groupby("split").error.mean()
    figures = {"network": errors.to_dict(), "notes": data.notes}
    text = f"mean squared error of the test: {errors['test']:.4f}"
    return Evaluation(figures, {"errors.csv": rows[["lesion_id", "split", "error"]]}, text)


TOY = Definition(
    words=Words("a toy", "--toy", "Toy"),
    network=Mean,
    monitors={"loss": "min"},
    table="errors.csv",
    cpu_flops=1e9,
    check=lambda config: None,
    load=classification.load,
    split=classification.split,
    weights=lambda config, rows: np.ones(len(rows)),
    make_task=make_task,
    make_network=lambda config: Mean(),
    make_preprocess=make_preprocess,
    make_predict_preprocess=make_preprocess,
    make_logit=make_logit,
    columns=lambda outputs: {"error": np.concatenate([out["error"] for out in outputs])},
    evaluate=evaluate,
)


@pytest.fixture
def config(study, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_TASKS", dict(registry._TASKS))
    registry.register("toy", TOY)
    config = senet.get_config("demo").unlock()
    config.task = "toy"
    config.data.update(source="manifest", manifest=str(study), folder=str(tmp_path / "data"))
    config.data.size_mm = (16, 16, 16)
    config.preprocess.update(crop_mm=(16, 16, 16), mask="none")
    config.model = {"width": 1}
    config.train.update(epochs=6, batch_size=8, evaluate_every_epochs=1)
    return config


def _error(folder):
    return json.loads((folder / "metrics.json").read_text())["network"]["test"]


def test_a_third_task_trains_resumes_and_is_evaluated(config, call, tmp_path, capsys):
    evaluation = train.run(config, tmp_path / "whole")
    assert evaluation.metrics["network"]["test"] == pytest.approx(_error(tmp_path / "whole"))

    def stop(evaluated):
        if evaluated.step >= 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    with pytest.raises(Stopped):
        train.run(config, tmp_path / "stopped", on_evaluation=stop)
    file = tmp_path / "toy.py"
    file.write_text(
        "import json, ml_collections\n"
        "def get_config():\n"
        f"    fields = json.loads({json.dumps(json.dumps(config.to_dict()))})\n"
        "    return ml_collections.ConfigDict(fields)\n"
    )
    assert call(f"--config={file}", f"--workdir={tmp_path / 'stopped'}") == 0
    assert _error(tmp_path / "stopped") == pytest.approx(_error(tmp_path / "whole"), abs=1e-6)
    (tmp_path / "stopped" / "metrics.json").unlink()
    assert call("--mode=evaluate", f"--workdir={tmp_path / 'stopped'}") == 0
    assert _error(tmp_path / "stopped") == pytest.approx(_error(tmp_path / "whole"), abs=1e-6)
    assert "mean squared error of the test" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "stopped" / "errors.csv")
    trained = network.load(tmp_path / "stopped", "toy")
    assert trained.task is TOY
    assert len(table) == 43
    image = np.zeros((3, 16, 16, 16), np.int16)
    assert jax.eval_shape(trained.on_device, image, image.astype(np.uint8)).shape == (3,)
