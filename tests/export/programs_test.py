"""The programs in a bundle: verify.py notices every change, client.py gives the run's answers."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from dtc_jax.experiment import network as network_lib
from dtc_jax.export import bundle
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.classify import classify
from dtc_jax.networks.classifier import make_classifier
from tests.export import bundles


@pytest.mark.extras
def test_it_is_verified_without_this_project(exported, tmp_path):
    """By ONNX Runtime and NumPy alone, from a copy elsewhere."""
    copy = shutil.copytree(exported, tmp_path / "copy")
    code = (
        "import sys, runpy; sys.modules.update(dict.fromkeys(('dtc_jax', 'jax', 'onnx')));"
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(copy / "verify.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "onnx: 8 cases" in done.stdout
    assert "stablehlo: NOT CHECKED" in done.stdout
    assert "safetensors: 21 arrays" in done.stdout
    assert not list(copy.rglob("__pycache__"))


def test_a_flipped_bit_in_any_file_is_found(exported, tmp_path):
    copy = shutil.copytree(exported, tmp_path / "copy")
    verify = bundles.load(exported / "verify.py")
    rng = np.random.default_rng(0)
    for path in [path for path in copy.rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[rng.integers(len(damaged))] ^= 0x80  # text is no longer UTF-8
        path.write_bytes(damaged)
        with pytest.raises(verify.Failed, match=path.name):
            verify.check_files(copy)
        path.write_bytes(whole)
    with (copy / "SHA256SUMS").open("a") as file:
        file.write("more\n")
    with pytest.raises(verify.Failed, match="SHA256SUMS: line"):
        verify.check_files(copy)
    bundle.write_sums(copy)
    (copy / "more.txt").write_text("")
    with pytest.raises(verify.Failed, match=r"more\.txt"):
        verify.check_files(copy)


def test_numbers_that_differ_are_found(exported, tmp_path, capsys, monkeypatch):
    copy = shutil.copytree(exported, tmp_path / "copy")
    path = copy / "contract" / "one.npz"
    arrays = dict(np.load(path))
    arrays["expected_probability"] += np.float32(2e-5)
    np.savez_compressed(path, **arrays)
    bundle.write_sums(copy)
    verify = bundles.load(copy / "verify.py")
    monkeypatch.setattr(sys, "argv", ["verify.py", str(copy), "--format=onnx"])
    assert verify.main() == 1
    assert "one.npz: probability differs by 2" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["preprocessing.json", "contract/one.npz"])
def test_a_file_that_cannot_be_read_is_named(exported, tmp_path, capsys, monkeypatch, name):
    copy = shutil.copytree(exported, tmp_path / "copy")
    (copy / name).write_text("{")
    bundle.write_sums(copy)
    verify = bundles.load(copy / "verify.py")
    monkeypatch.setattr(sys, "argv", ["verify.py", str(copy), "--format=onnx"])
    assert verify.main() == 1
    said = capsys.readouterr().err
    assert name in said
    assert "pickle" not in said


def test_a_decision_flips_near_the_threshold_alone_and_in_fewer_bits(exported, tmp_path):
    copy = shutil.copytree(exported, tmp_path / "copy")
    verify = bundles.load(copy / "verify.py")
    for path in (copy / "contract").glob("*.npz"):
        if path.name != "one.npz":
            path.unlink()
    path = copy / "contract" / "one.npz"
    arrays = dict(np.load(path))
    probability = float(arrays["expected_probability"][0])

    def check(expected: float, threshold: float, dtype: str):
        stored = np.array([expected], np.float32)
        np.savez_compressed(path, **arrays | {"expected_probability": stored})
        precision = {"dtype": dtype, "tolerance": 0.02}
        described = {"threshold": {"value": threshold}, "precision": precision}
        return verify.check_answers(copy, "onnx", described)

    cases, largest, flips = check(probability + 0.01, probability + 0.005, "float16")
    assert (cases, flips) == (1, 1)
    assert largest == pytest.approx(0.01, rel=1e-2)
    with pytest.raises(verify.Failed, match="1 decisions flip"):
        check(probability + 0.01, probability + 0.005, "float32")
    with pytest.raises(verify.Failed, match="differs by"):
        check(probability + 0.05, probability - 0.2, "float16")


def test_the_client_answers_as_the_run_does_on_a_scan(exported, runs):
    """Probability and heat map of a lesion, from the scan on."""
    arrays = dict(np.load(exported / "contract" / "three.npz"))
    network = network_lib.load_with_threshold(runs / "classifier", "classification")
    image, mask = (Volume(arrays[name][2], np.eye(4)) for name in ("image", "mask"))
    (lesion,) = classify(make_classifier(network), image, mask, heat=True)
    model = bundles.load(exported / "client.py").load(exported, "onnx")
    answer = model({name: arrays[name][2:] for name in ("image", "mask")})
    assert answer["probability"][0] == pytest.approx(lesion.probability, abs=1e-5)
    assert lesion.heat.array.any()
    np.testing.assert_allclose(answer["heat"][0], lesion.heat.array, atol=1e-5)


@pytest.mark.skipif(
    not pathlib.Path("/proc/self/task").is_dir() or len(os.sched_getaffinity(0)) < 2,
    reason="needs Linux and two cores",
)
def test_the_client_stays_on_the_cores_that_it_may_use(exported):
    code = (
        "import os, pathlib, runpy, sys; bundle = pathlib.Path(sys.argv[1]);"
        "core = min(os.sched_getaffinity(0)); os.sched_setaffinity(0, {core});"
        "model = runpy.run_path(bundle / 'client.py')['load'](bundle, 'onnx');"
        "threads = map(int, os.listdir('/proc/self/task'));"
        "assert set().union(*map(os.sched_getaffinity, threads)) == {core}"
    )
    done = subprocess.run([sys.executable, "-c", code, str(exported)], capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "image",
            lambda x: x[:, :-1],
            r"image: is int16 \[1, 19, 20, 20\]; give int16 \[B, 20, 20, 20\]",
        ),
        ("image", lambda x: x.astype(np.float32), "image: is float32"),
        ("mask", lambda x: None, "mask: is missing"),
    ],
)
def test_the_client_refuses_other_arrays(exported, name, change, message):
    arrays = dict(np.load(exported / "contract" / "one.npz"))
    arrays[name] = change(arrays[name])
    model = bundles.load(exported / "client.py").load(exported, "onnx")
    with pytest.raises(ValueError, match=message):
        model(arrays)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["image.npy"], "client.py: mask: is missing; give uint8 [B, 20, 20, 20]"),
        (["none.npy", "mask.npy"], "none.npy: is no .npy file"),
        (["objects.npy", "mask.npy"], "objects.npy: is no .npy file"),
    ],
)
def test_the_client_says_in_one_message_what_it_cannot_use(
    exported, tmp_path, monkeypatch, arguments, message
):
    arrays = dict(np.load(exported / "contract" / "one.npz"))
    np.save(tmp_path / "image.npy", arrays["image"])
    np.save(tmp_path / "mask.npy", arrays["mask"])
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    program = bundles.load(exported / "client.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["client.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        program.main()
    assert message in str(stopped.value)


def test_the_client_refuses_what_is_no_model(exported):
    program = bundles.load(exported / "client.py")
    with pytest.raises(ValueError, match=r"safetensors: is no model of this bundle; it has .*onnx"):
        program.load(exported, "safetensors")
