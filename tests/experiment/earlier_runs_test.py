"""Classifiers of an earlier version give the same figures, and segmenters are refused.

`tests/data/earlier_runs.tar.gz` was made by version 0.1.0 before its rooms were redrawn: a
classifier and a two-fold run with candidates on the fixture `study`, a segmenter of known weights
and a trained one on cubes, and what they predicted of the fixture `chests`.
"""

import json
import pathlib
import shutil
import tarfile

import numpy as np
import pandas as pd
import pytest

from dtc_jax.errors import InputError
from dtc_jax.experiment import network
from dtc_jax.imaging import volume
from dtc_jax.inference.classify import classify
from dtc_jax.networks.classifier import make_classifier
from dtc_jax.runs import evaluate, predict
from dtc_jax.statistics import baselines

# Keys of the figures that later versions added: lesions that several folds scored count once.
LATER = {"positive_lesions", "negative_lesions"}
ARCHIVE = pathlib.Path(__file__).parents[1] / "data" / "earlier_runs.tar.gz"


@pytest.fixture(scope="module")
def earlier(study, tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    for name in ("classifier", "folds"):
        path = folder / name / "config.json"
        config = json.loads(path.read_text())
        config["data"].update(manifest=str(study), folder=str(folder / "data"))
        path.write_text(json.dumps(config))
    return folder


def _same(new, old, tolerance=1e-6):
    """Equal but for numbers within `tolerance`."""
    if isinstance(old, dict):
        assert new.keys() - LATER == old.keys()
        for key in old:
            _same(new[key], old[key], tolerance)
    elif isinstance(old, list):
        assert len(new) == len(old)
        for pair in zip(new, old, strict=True):
            _same(*pair, tolerance)
    elif isinstance(old, float):
        assert new == pytest.approx(old, abs=tolerance)
    else:
        assert new == old


@pytest.mark.parametrize("name", ["classifier", pytest.param("folds", marks=pytest.mark.extras)])
def test_evaluation_gives_the_same_figures(earlier, name, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "TREES", 500)  # as then
    shutil.copytree(earlier / name, tmp_path / "run")
    evaluate.run(tmp_path / "run")
    folders = (tmp_path / "run", earlier / name)
    new, old = (pd.read_csv(folder / "predictions.csv") for folder in folders)
    pd.testing.assert_frame_equal(new, old, atol=1e-6, rtol=0)
    new, old = (json.loads((folder / "metrics.json").read_text()) for folder in folders)
    for figures in (new, old):
        del figures["notes"]
        for step in figures["flow"]:
            del step["reason"]  # its wording may change
    epochs = new.pop("epochs")  # the figures of that time had none
    assert all(run["best"]["epoch"] <= run["last"]["epoch"] for run in epochs.values())
    assert new.pop("unfinished") == []  # nor could they say this, or of which weights they were
    assert len(new.pop("networks")) == (2 if name == "folds" else 1)
    assert len(epochs) == len(list((tmp_path / "run").rglob("metrics.jsonl")))
    _same(new, old)


@pytest.mark.parametrize("name", ["classifier", "folds"])
def test_classification_gives_the_same_probabilities(earlier, chests, name):
    """Of the lesions that the segmenter of that time found."""
    answer = earlier / {"classifier": "answer", "folds": "answer_folds"}[name]
    old = pd.read_csv(answer / "lesions.csv")
    classifier = make_classifier(network.load_with_threshold(earlier / name, "classification"))
    image = volume.read_image(chests / "0.nii.gz")
    mask = volume.read_image(earlier / "answer" / "lesions.nii.gz")
    new = [lesion.probability for lesion in classify(classifier, image, mask)]
    np.testing.assert_allclose(new, old.refractory_probability, atol=1e-6)
    np.testing.assert_allclose(classifier.threshold, old.threshold, atol=1e-9)


@pytest.mark.parametrize("name", ["segmenter", "cubes_segmenter"])
def test_a_segmenter_is_refused_by_one_message(earlier, chests, name, tmp_path):
    scan = chests / "0.nii.gz"
    with pytest.raises(InputError, match=f"{name}: this segmenter was trained by an earlier"):
        predict.run(tmp_path / "out", earlier / name, earlier / "classifier", scan=scan)
    with pytest.raises(InputError, match="this segmenter was trained by an earlier version"):
        evaluate.run(earlier / name)
    assert not (tmp_path / "out").exists()


def test_an_unfinished_review_goes_on(earlier, tmp_path):
    shutil.copytree(earlier / "answer", tmp_path / "answer")
    (tmp_path / "review.csv").write_text(
        "lesion_id,verdict,comment,reviewer\n1,accept,,A\n2,reject,,A\n"
    )
    predict.review(tmp_path / "answer", tmp_path / "review.csv", classifier=earlier / "classifier")
    final = pd.read_csv(tmp_path / "answer" / "reviewed" / "lesions.csv")
    first = pd.read_csv(tmp_path / "answer" / "lesions.csv").query("lesion_id == 1")
    # Later versions have more columns; what they measure was not measured at that time.
    pd.testing.assert_frame_equal(final[[*first]], first, atol=1e-5, rtol=0)
