"""Bundles predict as their runs do, where JAX is not to be had, from launch.py and from Python."""

import configparser
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import dtc_jax
from configs import candidates as candidates_config
from dtc_jax.errors import InputError, UsageError
from dtc_jax.export import bundle
from dtc_jax.imaging import volume
from dtc_jax.inference import second_look
from dtc_jax.networks.classifier import make_classifier
from dtc_jax.prediction import predictors
from dtc_jax.serving import bundle as bundle_lib
from dtc_jax.tasks import registry
from tests.trained_runs import SPACING_MM

ROOT = pathlib.Path(__file__).parents[2]
WITHOUT_JAX = """
import sys

class Absent:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent)
sys.path.insert(0, {root!r})
"""
LAUNCH = """
import runpy
sys.argv = ["launch.py", *sys.argv[1:]]
runpy.run_path(sys.path[0] + "/launch.py", run_name="__main__")
"""
PREDICT = """
import dtc_jax
segmenter, classifier, scan, out = sys.argv[1:]
networks = dtc_jax.load_predictors(segmenter, classifier)
dtc_jax.predict(dtc_jax.read_scan(scan), networks).table.to_csv(out, index=False)
"""
# What the documented installation for bundles leaves out, by distribution, and its modules.
LEFT_OUT = {
    "array-record": "array_record",
    "flax": "flax",
    "grain": "grain",
    "jax": "jax",
    "jaxlib": "jaxlib",
    "optax": "optax",
    "orbax-checkpoint": "orbax",
    "scikit-learn": "sklearn",
    "tableone": "tableone",
    "tensorboardX": "tensorboardX",
    "tensorflow-datasets": "tensorflow_datasets",
}


@pytest.fixture(scope="module")
def second(drawn):
    """A second look with drawn weights."""
    config = candidates_config.get_config("demo").unlock()
    config.data.size_mm = (16, 16, 16)
    config.preprocess.update(crop_mm=(16, 16, 16), spacing_mm=1.0)
    config.model.update(width=4, stages=1)
    config.predict.mirror = False
    return dataclasses.replace(drawn(config), threshold=0.4)


@pytest.fixture(scope="module")
def bundles(call, segmenter, classifier, second, tmp_path_factory) -> pathlib.Path:
    """The folders `segmenter`, `classifier` and `candidates`; not to be changed."""
    folder = tmp_path_factory.mktemp("bundles")
    for name, run in (("segmenter", segmenter), ("classifier", classifier)):
        given = (f"--workdir={run.workdir}", f"--out={folder / name}", "--format=onnx")
        assert call("--mode=export", *given) == 0
    bundle.write(folder / "candidates", lambda: (second, "drawn"), segmenter.workdir, ["onnx"])
    return folder


def launch(*arguments: object, code: str = LAUNCH) -> subprocess.CompletedProcess:
    """launch.py, or other code, in a process that cannot import JAX and what goes with it."""
    absent = WITHOUT_JAX.format(names={*LEFT_OUT.values()}, root=str(ROOT))
    command = [sys.executable, "-c", absent + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def same_answer(mine: pathlib.Path, theirs: pathlib.Path) -> None:
    ours, expected = (pd.read_csv(one / "lesions.csv") for one in (mine, theirs))
    pd.testing.assert_frame_equal(ours, expected, rtol=0, atol=1e-5)
    read = [volume.read_image(one / "lesions.nii.gz").array for one in (mine, theirs)]
    np.testing.assert_array_equal(*read)
    for path in sorted((theirs / "heat_maps").iterdir()):
        maps = [nib.load(one / "heat_maps" / path.name) for one in (mine, theirs)]
        np.testing.assert_allclose(*(one.affine for one in maps), atol=1e-5)
        np.testing.assert_allclose(*(one.get_fdata() for one in maps), atol=1e-5)


@pytest.mark.extras
def test_without_jax_the_answer_is_that_of_the_runs(answered, bundles, chests, tmp_path):
    given = ("--mode=predict", f"--scan={chests / '0.nii.gz'}", f"--out={tmp_path / 'out'}")
    networks = [f"--{name}={bundles / name}" for name in ("segmenter", "classifier")]
    done = launch(*given, *networks)
    assert done.returncode == 0, done.stderr
    same_answer(tmp_path / "out", answered)
    record, theirs = (
        json.loads((one / "run.json").read_text()) for one in (tmp_path / "out", answered)
    )
    assert predictors.essence(record["networks"]) == predictors.essence(theirs["networks"])
    assert record["networks"]["segmenter"]["runtime"].startswith("ONNX Runtime")
    assert "backend" not in record["versions"]
    assert "already contains this answer" in launch(*given, *networks).stdout
    review = tmp_path / "review.csv"
    review.write_text("lesion_id,verdict,comment,reviewer\n1,accept,,A\n2,reject,,A\n")
    reviewed = launch("--mode=predict", f"--out={tmp_path / 'out'}", f"--review={review}")
    assert reviewed.returncode == 0, reviewed.stderr
    assert len(pd.read_csv(tmp_path / "out" / "reviewed" / "lesions.csv")) == 1


@pytest.mark.extras
def test_a_batch_and_a_second_look_need_no_jax_either(answered, bundles, chests, second, tmp_path):
    scans = tmp_path / "scans.csv"
    scans.write_text(f"image,scan_id\n{chests / '0.nii.gz'},a\n{tmp_path / 'none.nii'},b\n")
    networks = [f"--{path.name}={path}" for path in bundles.iterdir()]
    out = tmp_path / "out"
    done = launch("--mode=predict", f"--scans={scans}", f"--out={out}", *networks)
    assert done.returncode == 1, done.stderr
    assert "1 of 2 scans failed" in done.stderr
    table = pd.read_csv(out / "a" / "lesions.csv")
    image, mask = (volume.read_image(answered / f"{name}.nii.gz") for name in ("scan", "lesions"))
    expected = second_look.probabilities(make_classifier(second), image, mask)
    np.testing.assert_allclose(table.lesion_probability, expected, atol=1e-5)
    assert (table.is_lesion == (expected.to_numpy() >= 0.4)).all()


@pytest.mark.extras
def test_predict_from_python_needs_no_jax_either(answered, bundles, chests, tmp_path):
    networks = (bundles / "segmenter", bundles / "classifier")
    done = launch(*networks, chests / "0.nii.gz", tmp_path / "table.csv", code=PREDICT)
    assert done.returncode == 0, done.stderr
    mine, theirs = pd.read_csv(tmp_path / "table.csv"), pd.read_csv(answered / "lesions.csv")
    columns = theirs.columns.drop("slice").tolist()
    pd.testing.assert_frame_equal(mine[columns], theirs[columns], rtol=0, atol=1e-5)


@pytest.mark.extras
def test_a_run_without_jax_is_one_clear_message(classifier, bundles, chests, tmp_path):
    given = ("--mode=predict", f"--scan={chests / '0.nii.gz'}", f"--out={tmp_path / 'out'}")
    networks = (f"--segmenter={bundles / 'segmenter'}", f"--classifier={classifier.workdir}")
    done = launch(*given, *networks)
    assert done.returncode == 1
    assert "is a run, which needs jax; give a bundle of it" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.extras
def test_a_mode_that_needs_jax_is_one_clear_message(tmp_path):
    done = launch("--mode=export", f"--workdir={tmp_path}", f"--out={tmp_path / 'out'}")
    assert done.returncode == 1
    assert re.fullmatch(
        r"launch\.py: --mode=export: needs \w+, which is not installed; run .*\n", done.stderr
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.extras
def test_from_python_a_run_and_its_bundle_say_the_same(bundles, segmenter, classifier, chests):
    stored = nib.load(chests / "0.nii.gz")
    turned = stored.as_reoriented(np.array([[0, -1], [2, 1], [1, 1]]))
    array = np.asanyarray(stored.dataobj).T  # [Z, Y, X]
    spacing_mm = tuple(SPACING_MM)
    found = [
        dtc_jax.load(path).segment(turned) for path in (segmenter.workdir, bundles / "segmenter")
    ]
    for one in found:
        assert one.mask.shape == turned.shape
        np.testing.assert_allclose(one.mask.affine, turned.affine)
        assert len(one.lesions) == 2
    pd.testing.assert_frame_equal(*(one.lesions for one in found), rtol=0, atol=1e-5)
    same = dtc_jax.load(bundles / "segmenter").segment(array, spacing_mm=spacing_mm)
    np.testing.assert_array_equal(same.mask, nib.as_closest_canonical(found[1].mask).dataobj.T)
    lungs = np.asanyarray(found[1].lungs.dataobj)
    given = nib.Nifti1Image(lungs, found[1].lungs.affine)
    again = dtc_jax.load(bundles / "segmenter").segment(turned, lungs=given)
    np.testing.assert_array_equal(again.mask.dataobj, found[1].mask.dataobj)
    of_run, of_bundle = (dtc_jax.load(one) for one in (classifier.workdir, bundles / "classifier"))
    assert of_run.fingerprints == of_bundle.fingerprints
    expected = of_run.classify(turned, found[0].mask)
    given = of_bundle.classify(array, same.mask, spacing_mm=spacing_mm)
    assert [one.number for one in given] == [one.number for one in expected] == [1, 2]
    for one, other in zip(given, expected, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-5)
        assert one.positive == other.positive
        heat = nib.as_closest_canonical(other.heat).get_fdata().T
        np.testing.assert_allclose(one.heat, heat, atol=1e-5)


def test_what_python_cannot_use_is_refused_in_one_message(bundles, chests):
    network = dtc_jax.load(bundles / "classifier")
    hu = np.zeros((20, 20, 20), np.int16) - 900
    mask = np.zeros(hu.shape, np.uint8)
    for arguments, spacing_mm, message in (
        ((hu, mask), None, "the scan: is an array; give spacing_mm"),
        ((hu[0], mask), (1, 1, 1), r"the scan: has the shape"),
        (("ct.nii", mask), None, "the scan: is a str"),
        ((hu, mask[1:]), (1, 1, 1), "the mask has"),
        ((hu, mask - 1.0), (1, 1, 1), "negative numbers"),
        ((hu * 0 + 4000, mask), (1, 1, 1), "not in HU"),
    ):
        with pytest.raises(InputError, match=message):
            network.classify(*arguments, spacing_mm=spacing_mm)
    with pytest.raises(UsageError, match="this network is a classifier; call classify"):
        network.segment(hu, spacing_mm=(1, 1, 1))
    with pytest.raises(UsageError, match="this network is a segmenter; call segment"):
        dtc_jax.load(bundles / "segmenter").classify(hu, mask, spacing_mm=(1, 1, 1))


def test_bundles_that_cannot_be_used_are_refused(
    bundles, call, chests, tmp_path, capsys, monkeypatch
):
    copy = shutil.copytree(bundles / "classifier", tmp_path / "copy")
    scan, out = chests / "0.nii.gz", tmp_path / "out"

    def refused(finder: pathlib.Path, decider: pathlib.Path) -> str:
        networks = (f"--segmenter={finder}", f"--classifier={decider}")
        assert call("--mode=predict", f"--scan={scan}", f"--out={out}", *networks) == 1
        assert not out.exists()
        return capsys.readouterr().err

    said = refused(bundles / "classifier", bundles / "classifier")
    assert "is the bundle of a classifier, and a segmenter is needed; give it as --cl" in said
    assert "as --candidates" in refused(bundles / "segmenter", bundles / "candidates")
    assert "nor a bundle" in refused(bundles / "segmenter", tmp_path)
    (copy / "model_card.md").write_text("another")
    assert "model_card.md: has changed" in refused(bundles / "segmenter", copy)
    (copy / "SHA256SUMS").unlink()
    assert "was changed after its export" in refused(bundles / "segmenter", copy)
    described = json.loads((copy / "preprocessing.json").read_text())
    (copy / "preprocessing.json").write_text(json.dumps(described | {"format": 0}))
    assert "another version of dtc-jax; export" in refused(bundles / "segmenter", copy)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install 'dtc-jax[serve]'" in refused(bundles / "segmenter", bundles / "classifier")


def test_the_documented_installation_is_all_but_what_is_left_out():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].split("\n")
    required = {line.split(" ")[0] for line in lines if line}
    text = (ROOT / "docs" / "export.md").read_text()
    listed = re.search(r"pip install (absl-py.*?)\npip install --no-deps", text, re.DOTALL)[1]
    assert {*listed.replace("\\", " ").split()} == required - {*LEFT_OUT} | {"onnxruntime"}


def test_a_network_is_called_what_its_task_calls_it():
    for task, (noun, flag) in bundle_lib.WORDS.items():
        words = registry.get(task).words
        assert (noun, flag) == (words.noun, words.flag)
