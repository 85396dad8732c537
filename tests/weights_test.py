"""The weights that ship are whole, small, and give what they gave when they were written."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

import dtc_jax
from tests import trained_runs

ROOT = pathlib.Path(__file__).parents[1]
BUNDLES = sorted(path.parent for path in ROOT.glob("weights/*/SHA256SUMS"))


def test_each_is_in_the_table():
    text = (ROOT / "weights" / "README.md").read_text()
    assert BUNDLES
    assert all(f"| `{bundle.name}` |" in text for bundle in BUNDLES)


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_it_is_whole_and_small_and_names_nobody(bundle):
    verify = [sys.executable, "-I", str(bundle / "verify.py")]
    done = subprocess.run(verify, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = [path for path in bundle.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 20e6
    named = [path for path in files if path.suffix != ".npz"]  # those are cases of the phantom
    assert not [path for path in named if b"LIDC-IDRI-0" in path.read_bytes()]


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
@pytest.mark.parametrize("program", ["client.py", "verify.py"])
def test_its_programs_are_those_that_a_bundle_gets_today(bundle, program):
    today = ROOT / "dtc_jax" / "serving" / "bundled" / program
    assert (bundle / program).read_bytes() == today.read_bytes(), (
        "copy it, and sign the bundle anew"
    )


@pytest.mark.extras
def test_a_segmenter_is_loaded_by_one_line_and_finds_both_nodules():
    image, numbers = trained_runs.chest(seed=1)
    segmenter = dtc_jax.load(ROOT / "weights" / "nodules-segmenter")
    found = np.asarray(segmenter.segment(image.array, spacing_mm=image.spacing_mm).mask)
    for number in (1, 2):
        of_nodule = np.bincount(found[numbers.array == number])[1:]
        assert of_nodule.max() > 0.7 * (numbers.array == number).sum()
    assert found.max() <= 4  # at most two other things


def test_a_classifier_is_loaded_by_one_line():
    classifier = dtc_jax.load(ROOT / "weights" / "nodules-classifier")
    rng = np.random.default_rng(0)
    z, y, x = np.indices((50, 60, 60)) - np.array([25, 30, 30])[:, None, None, None]
    found = {}
    for radius in (3, 14):
        mask = (z**2 + y**2 + x**2 < radius**2).astype(np.uint8)
        hu = np.where(mask, 30, -850) + rng.integers(-40, 40, mask.shape)
        (lesion,) = classifier.classify(hu.astype(np.int16), mask, spacing_mm=(1, 1, 1))
        found[radius] = lesion.probability
    assert found[3] < 0.4 < found[14]  # size alone tells most
