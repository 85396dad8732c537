"""A small study of two cohorts, and its report."""

import numpy as np
import pandas as pd
import pytest

from dtc_jax.report import study_report
from dtc_jax.report.example import Example
from dtc_jax.report.report_run import Artefacts
from dtc_jax.statistics import predictions_table
from dtc_jax.statistics.study import Settings, study

FLOW = [
    {"reason": "in the manifest", "lesions": 170, "patients": 62, "kind": "count"},
    {"reason": "another cancer", "lesions": 20, "patients": 2, "kind": "excluded"},
    {"reason": "poor image quality", "lesions": 0, "patients": 0, "kind": "excluded"},
    {"reason": "label as given", "lesions": 150, "patients": 60, "kind": "note"},
    {"reason": "in the study", "lesions": 150, "patients": 60, "kind": "count"},
]


def _predictions(run: str = "net", seed: int = 0) -> pd.DataFrame:
    """Rows of 60 patients of the primary cohort (20 of them tested) and 20 of the external one."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(80):
        cohort = "primary" if i < 60 else "external"
        split = "train" if i < 30 else "validation" if i < 40 else "test"
        sex, age, refractory = "FM"[i % 2], 40 + i % 30, rng.random() < 0.5
        for lesion in range(1 + i % 4):
            label = int(refractory if rng.random() < 0.9 else not refractory)
            rows.append(
                {
                    "run": run,
                    "cohort": cohort,
                    "split": split,
                    "fold": 0,
                    "patient_id": f"P{i:02}",
                    "lesion_id": f"L{i:02}-{lesion}",
                    "center": "A" if i < 60 else "BC"[i % 2],
                    "diameter_mm": 3 + 12 * rng.random(),
                    "age": age,
                    "sex": sex,
                    "label": label,
                    "score": 1 / (1 + np.exp(-(rng.normal() + 1.5 * label - 0.75))),
                    "threshold": 0.5,
                    "threshold_source": "youden on the validation split",
                }
            )
    return predictions_table.complete(pd.DataFrame(rows))


def _example(label: int, score: float, lesion_id: str) -> Example:
    """A lesion of 3 mm about whose middle it is dense to the head, the front and the right."""
    image = np.full((9, 11, 13), -800.0)
    image[4:, 5:, 6:] = 50.0
    mask = np.zeros(image.shape, bool)
    mask[3:6, 4:7, 5:8] = True
    heat = np.where(mask, 2.0, 0.0).astype(np.float32)
    window = (-1000.0, 400.0)
    return Example(lesion_id, "primary", label, score, 0.5, image, mask, heat, window)


@pytest.fixture(scope="session")
def examples() -> tuple[Example, ...]:
    return _example(1, 0.9, "L41-0"), _example(0, 0.8, "L42-0")


@pytest.fixture(scope="session")
def make_predictions():
    return _predictions


@pytest.fixture(scope="session")
def predictions() -> pd.DataFrame:
    return _predictions()


@pytest.fixture(scope="session")
def statistics(predictions) -> dict:
    return study(predictions, Settings(resamples=200))


@pytest.fixture(scope="session")
def artefacts(predictions, examples) -> Artefacts:
    rng = np.random.default_rng(9)
    worse = predictions.assign(run="diameter", score=rng.random(len(predictions)))
    worse = worse.assign(decision=(worse.score >= 0.5).astype(float))
    curves = [
        {"training": ".", "epoch": epoch, "split": split, "metric": "loss", "value": 1 / epoch}
        for epoch in (1, 2, 3)
        for split in ("train", "validation")
    ]
    return Artefacts(
        config={
            "seed": 7,
            "split": {"kind": "holdout", "unit": "patient", "folds": 0, "seed": 0},
            "train": {"monitor": "auc", "epochs": 3, "batch_size": 4},
            "candidates": {},
        },
        metrics={
            "flow": [{**step, "cohort": "primary"} for step in FLOW],
            "notes": ["phantom <cohort>"],
        },
        baselines=worse,
        occluded=predictions[predictions.split == "test"].assign(
            without_inside=0.5, without_surroundings=worse.score
        ),
        curves=pd.DataFrame(curves),
        fingerprint="0123456789abcdef" * 4,
        examples=examples,
    )


@pytest.fixture(scope="session")
def report(tmp_path_factory, predictions, statistics, artefacts):
    """The folder of a written report."""
    folder = tmp_path_factory.mktemp("report")
    study_report.write(predictions, statistics, {"net": artefacts}, folder)
    return folder
