"""Each region is what it is called, and agrees with the lesion as it is said to."""

import jax
import numpy as np
import pandas as pd
import pytest

from dtc_jax.cohort.manifest import read_manifest
from dtc_jax.evaluation import reference_scan, regions
from dtc_jax.experiment import network
from dtc_jax.imaging import perturb, volume
from dtc_jax.imaging.instances import Instances
from dtc_jax.imaging.perturb import Perturbation
from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.classify import classify
from dtc_jax.inference.segment import Segmenter
from dtc_jax.inference.sliding_window import SlidingWindow
from dtc_jax.networks.classifier import make_classifier
from tests import chests
from tests.chests import AFFINE

pytestmark = pytest.mark.extras  # two trainings


def test_regions_are_those_of_reader_and_segmenter(run, cohort):
    classifier = make_classifier(network.load_with_threshold(run / "classifier", "classification"))
    bright = Segmenter(
        jax.jit(lambda hu: (hu > -300.0).astype(np.float32)),
        Preprocess(spacing_mm=2.0),
        SlidingWindow((32, 32, 32)),
        Instances(),
    )
    rows = read_manifest(cohort, healthy=True).head(2)
    still = regions.of_scan(bright, classifier, rows, Perturbation(0.0, 0.0), 0)["lesions"]
    assert still.lesion_id.tolist() == ["p00-1", "p00-2"]
    assert still.is_found.all()
    np.testing.assert_allclose(still.perturbed, still.manual, rtol=1e-6)
    assert (still.dice_perturbed == 1).all()
    assert (still.dice_automatic > 0.6).all()
    assert still.automatic.notna().all()
    moved = regions.of_scan(bright, classifier, rows, Perturbation(8.0, 3.0), 0)["lesions"]
    assert (moved.dice_perturbed < 0.9).all()
    assert (moved.perturbed != moved.manual).all()
    blind = Segmenter(jax.jit(lambda hu: 0.0 * hu), bright.spec, bright.windows, bright.instances)
    missed = regions.of_scan(blind, classifier, rows, Perturbation(), 0)
    assert missed["lesions"].automatic.isna().all()
    assert missed["lesions"].manual.notna().all()
    assert missed["candidates"].empty


def test_regions_in_boxes_are_those_of_the_whole_volume(run, tmp_path):
    """Lesions that touch, overlap, lie at the scan's edge and are missed; found ones that merge."""
    classifier = make_classifier(network.load_with_threshold(run / "classifier", "classification"))
    centers = [(14, 24, 18), (15, 28, 18), (18, 20, 46), (2, 25, 20), (16, 30, 50), (20, 12, 40)]
    labels = [chests.ball(center, 8.0 + 2 * i) for i, center in enumerate(centers)]
    hu = np.where(np.any(labels[:-1], axis=0), 30, chests.empty()).astype(
        np.int16
    )  # the last is missed
    volume.write(tmp_path / "ct.nii", Volume(hu, AFFINE))
    rows = []
    for i, one in enumerate(labels):
        volume.write(tmp_path / f"{i}.nii", Volume(one, AFFINE))
        rows.append(("p", f"p-{i}", "ct.nii", f"{i}.nii"))
    columns = ["patient_id", "lesion_id", "image", "mask"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "lesions.csv", index=False)
    bright = Segmenter(
        jax.jit(lambda hu: (hu > -300.0).astype(np.float32)),
        Preprocess(spacing_mm=2.0),
        SlidingWindow((32, 32, 32)),
        Instances(),
    )
    scan = reference_scan.read(read_manifest(tmp_path / "lesions.csv"))
    found = reference_scan.find(bright, scan).mask.array
    truth, spec = scan.truth.array, Perturbation(3.0, 2.0)
    moved = np.zeros_like(truth)
    for number, lesion_id in enumerate(scan.lesion_ids, start=1):
        rng = np.random.default_rng([5, *lesion_id.encode()])
        own = Volume(truth == number, scan.truth.affine)
        moved[perturb.perturbed(own, spec, rng).array] = number
    table = regions.of_scan(bright, classifier, read_manifest(tmp_path / "lesions.csv"), spec, 5)[
        "lesions"
    ]
    assert table.is_found.tolist()[-1] is False
    assert table.is_found.sum() >= 4
    for number, row in enumerate(table.itertuples(), start=1):
        lesion = truth == number
        assert row.dice_perturbed == _dice(moved == number, lesion)
        shared = np.bincount(found[lesion], minlength=2)
        partner = 1 + int(shared[1:].argmax())
        expected = _dice(found == partner, lesion) if row.is_found else np.nan
        np.testing.assert_equal(row.dice_automatic, expected)
    probabilities = {
        one.lesion_id: one.probability
        for one in classify(classifier, scan.image, Volume(moved, AFFINE))
    }
    np.testing.assert_array_equal(table.perturbed, [probabilities[i + 1] for i in range(6)])


def _dice(one, other) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))
