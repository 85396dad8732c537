"""A bundle says what it is, gives the run's numbers without this project, and notices changes."""

import dataclasses
import json
import re
import shutil
import subprocess
import types

import numpy as np
import onnx
import pandas as pd
import pytest

from configs import senet, vnet
from dtc_jax.errors import InputError, UsageError
from dtc_jax.experiment import network as network_lib
from dtc_jax.export import bundle, card, formats, interface, onnx_model, served
from dtc_jax.prediction import predictors
from dtc_jax.runs import export
from dtc_jax.tasks import classification
from dtc_jax.tasks.trained import Member, TrainedNetwork
from tests.export import bundles


def test_a_bundle_has_all_that_goes_with_a_network(exported, runs):
    names = {path.relative_to(exported).as_posix() for path in exported.rglob("*")}
    described = bundles.describe(exported)
    assert set(described["models"]) == set(formats.choose())
    assert names >= {
        *described["models"].values(),
        *("model_card.md", "verify.py", "client.py", "SHA256SUMS", "LICENSE"),
        *("triton/classification/config.pbtxt", "weights/pytorch.json"),
    }
    assert not list(exported.parent.glob(".partial*"))
    chosen = pd.read_csv(runs / "classifier" / "predictions.csv").threshold[0]
    assert described["threshold"]["value"] == pytest.approx(chosen)
    assert "youden on the validation split" in described["threshold"]["origin"]
    batches = set()
    for path in (exported / "contract").glob("*.npz"):
        arrays = dict(np.load(path))
        batches.add(len(arrays["image"]))
        assert arrays["image"].dtype == np.int16
        assert arrays["expected_probability"].shape == arrays["image"].shape[:1]
    assert batches == {1, 3, 8}


def test_the_card_is_made_of_the_run_and_names_no_patient(exported, runs):
    text = (exported / "model_card.md").read_text()
    metrics = json.loads((runs / "classifier" / "metrics.json").read_text())
    assert metrics["split"]["fingerprint"] in text
    auc = metrics["baselines"]["features"]["primary"]["test"]["auc"]
    assert f"| auc | {auc['n']} | {auc['patients']} |" in text
    assert f"{auc['value']:.3f} ({auc['low']:.3f}–{auc['high']:.3f})" in text
    assert "research only" in text
    table = pd.read_csv(runs / "classifier" / "predictions.csv")
    for path in exported.rglob("*"):
        if path.suffix in (".md", ".json", ".pbtxt"):
            written = path.read_text()
            for name in {*table.patient_id, *table.lesion_id}:
                assert not re.search(rf"\b{name}\b", written), (path.name, name)


def test_the_card_has_what_was_found_in_whole_scans():
    found = {"value": 2.5, "low": 1.0, "high": 4.0, "n": 4, "patients": 3, "interval": "percentile"}
    scans = {"scans": 4, "patients": 3, "lesions": 1, "false_positives_per_scan": found}
    sentence, table = card._whole_scans(scans | {"networks": [{}]})
    assert "4 whole scans with 1 lesion, of 3 patients, none of whom" in sentence
    assert "| false_positives_per_scan | 4 | 3 | 2.500 (1.000–4.000) |" in table


def test_the_card_leaves_out_what_other_networks_found(runs, tmp_path):
    shutil.copytree(runs / "classifier", tmp_path / "run")
    trained = network_lib.load(tmp_path / "run")
    one = served.make(dataclasses.replace(trained, threshold=0.5))
    described = interface.describe(one, {}, "", {"dtype": "float32"})
    (tmp_path / "run" / "scans").mkdir()
    for mark, is_shown in ((one.network.fingerprints, True), ({"weights": "of before"}, False)):
        scans = {"scans": 1, "patients": 1, "lesions": 1, "networks": [mark]}
        (tmp_path / "run" / "scans" / "metrics.json").write_text(json.dumps(scans))
        text = card.make(one, tmp_path / "run", described)
        assert ("On 1 whole scan with 1 lesion" in text) == is_shown


def test_the_card_has_each_of_the_networks_of_all_folds():
    chosen = [senet.get_config("demo").unlock() for _ in range(3)]
    chosen[2].preprocess.window = (-900.0, 300.0)
    members = tuple(Member(config, 0, 0, {}) for config in chosen)
    network = TrainedNetwork(classification.DEFINITION, members)
    common, kinds = card._networks(types.SimpleNamespace(network=network))
    assert "window" not in common
    assert kinds == {"window (-1000.0, 400.0)": 2, "window (-900.0, 300.0)": 1}


def test_the_card_has_each_of_the_networks_that_decide_together():
    config = senet.get_config("nodules")
    four = (0, 0, 0, 0)
    network = TrainedNetwork(classification.DEFINITION, (Member(config, four, four, {}),) * 5)
    common, kinds = card._networks(types.SimpleNamespace(network=network))
    assert (common["width"], common["mask"]) == (16, "channel")
    assert kinds == {
        f"crop mm ({mm}, {mm}, {mm}), spacing mm {spacing}, dropout {dropout}": 5
        for mm, spacing in ((48, 1.5), (32, 1.0))
        for dropout in (0.3, 0.0)
    }


@pytest.mark.extras
def test_in_fewer_bits_the_difference_is_stored_and_has_a_limit(
    runs, call, tmp_path, monkeypatch, capsys
):
    given = (f"--workdir={runs / 'classifier'}", "--format=onnx,safetensors", "--dtype=float16")
    out = tmp_path / "bundle"
    assert call("--mode=export", *given, f"--out={out}") == 0
    precision = bundles.describe(out)["precision"]
    assert (precision["dtype"], precision["tolerance"]) == ("float16", 0.02)
    found = precision["largest_difference"]["onnx"]
    assert 0 < found < 0.02
    assert f"probabilities within {found:.1e}" in capsys.readouterr().out
    card = (out / "model_card.md").read_text()
    assert "Computed in float16." in card
    assert f"onnx {found:.1e}" in card
    monkeypatch.setitem(formats.TOLERANCES, "float16", found / 2)
    assert call("--mode=export", *given, f"--out={tmp_path / 'other'}") == 1
    assert "differs by" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    refused = (f"--workdir={runs / 'classifier'}", f"--out={tmp_path / 'other'}", "--format=onnx")
    for dtype, message in (("bfloat16", "or omit onnx"), ("int8", "--dtype is 'int8'")):
        assert call("--mode=export", *refused, f"--dtype={dtype}") == 2
        assert message in capsys.readouterr().err


def test_triton_gets_the_names_and_shapes_of_the_model(exported):
    folder = exported / "triton" / "classification"
    text = (folder / "config.pbtxt").read_text()
    model = onnx.load(folder / "1" / "model.onnx")
    for value in [*model.graph.input, *model.graph.output]:
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim[1:]]
        dims = ", ".join(map(str, sizes)) or "1"
        assert re.search(rf'name: "{value.name}" data_type: TYPE_\w+ dims: \[ {dims} \]', text)
    assert text.count("{") == text.count("}")
    assert {prop.key for prop in model.metadata_props} >= {"task", "weights"}


@pytest.mark.extras
def test_folds_decide_together_or_one_alone(runs, tmp_path, capsys):
    both = network_lib.load_with_threshold(runs / "folds", "classification")
    found = {}
    for member in (None, 1):
        out = tmp_path / str(member)
        export.run(runs / "folds", out, ("onnx",), member)
        described = bundles.describe(out)
        found[member] = dict(np.load(out / "contract" / "eight.npz"))
        assert described["members"] == (2 if member is None else 1)
        if member is None:
            assert described["threshold"]["value"] == pytest.approx(both.threshold)
            assert "mean of the folds" in described["threshold"]["origin"]
            text = (out / "model_card.md").read_text()
            assert "was tested on no patient" in text
            assert "that of the mean logit of 2 networks, one a fold." in text
        else:
            text = (out / "model_card.md").read_text()
            assert "This model is that of one fold alone" in text
            assert "mean logit" not in text
    assert "no decision flips" in capsys.readouterr().out
    together, alone = (found[key]["expected_probability"] for key in (None, 1))
    assert np.abs(together - alone).max() > 1e-3
    with pytest.raises(UsageError, match=r"--member=2: the run has 2 networks"):
        export.run(runs / "folds", tmp_path / "third", ("onnx",), 2)
    assert not (tmp_path / "third").exists()


@pytest.mark.extras
def test_each_format_is_checked_in_a_process_without_the_runtime_of_another(
    exported, monkeypatch, capsys
):
    asked, run = [], subprocess.run

    def recorded(command, **options):
        asked.append(command[-1])
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", recorded)
    kinds = [*bundles.describe(exported)["models"]]
    found = bundle._verify(exported, kinds)
    assert len(kinds) > 2
    assert asked == [f"--format={kind}" for kind in kinds]
    assert found.keys() == {*kinds} - {"safetensors"}
    assert all(value <= 1e-5 for value in found.values())
    assert capsys.readouterr().out.count("files are as they were made") == 1


def test_a_bundle_is_not_written_into_another(exported):
    with pytest.raises(InputError, match=r"within: is inside the bundle .*choose a folder outside"):
        bundle.check_free(exported / "weights" / "within")


def test_a_segmenter_says_how_a_scan_is_cut_into_windows(drawn, tmp_path):
    config = vnet.get_config("demo").unlock()
    config.model.update(widths=(4, 8), convolutions=(1, 1), conv="native")
    config.predict.update(crop_mm=(12, 16, 16), overlap=0.25, lesion_threshold=0.875)
    config.data.about = "Trained on drawn balls."
    out = tmp_path / "bundle"
    bundle.write(out, lambda: (drawn(config), "a test"), tmp_path, ("onnx",))
    described = bundles.describe(out)
    assert [one["name"] for one in described["inputs"]] == ["image"]
    before = described["before_the_model"]
    assert (before["window_voxels"], before["overlap"]) == ([6, 8, 8], 0.25)
    assert "convolved with a Gaussian" in before["antialiasing"]
    segmenter, said = predictors.load_segmenter(out)
    assert segmenter.instances.lesion_threshold == said["lesion_threshold"] == 0.875
    card = (out / "model_card.md").read_text()
    assert "was not evaluated" in card
    assert card.startswith("# SE V-Net, segmentation\n\n**Trained on drawn balls.**\n\n")
    assert said["about"] == "Trained on drawn balls."


def test_other_numbers_than_the_run_gives_leave_no_bundle(
    runs, tmp_path, monkeypatch, call, capsys
):
    make = onnx_model.make

    def wrong(*arguments):
        model = make(*arguments)
        bias = [one for one in model.graph.initializer if one.name.startswith("bias")][-1]
        bias.raw_data = (np.frombuffer(bias.raw_data, np.float32) + np.float32(1e-3)).tobytes()
        return model

    monkeypatch.setattr(onnx_model, "make", wrong)
    workdir, out = runs / "classifier", tmp_path / "bundle"
    assert call("--mode=export", f"--workdir={workdir}", f"--out={out}", "--format=onnx") == 1
    assert "was removed" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_bad_input_is_refused_before_anything_is_written(runs, tmp_path, call, capsys):
    filled = tmp_path / "filled"
    filled.mkdir()
    (filled / "file").touch()
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    bare = shutil.copytree(runs / "classifier", tmp_path / "bare")
    shutil.rmtree(bare / "checkpoints")
    newer = shutil.copytree(runs / "classifier", tmp_path / "newer")
    config = json.loads((newer / "config.json").read_text())
    config["model"]["a_later_field"] = 1
    (newer / "config.json").write_text(json.dumps(config))
    good = runs / "classifier"
    before = sorted(tmp_path.rglob("*"))
    for workdir, place, more, code, message in (
        (good, filled, (), 1, "filled: contains files"),
        (good, filled / "file", (), 1, "file: is a file"),
        (good, filled / "file" / "below", (), 1, "below: cannot be written"),
        (newer, out, (), 1, "does not fit this version of dtc-jax"),
        (empty, out, (), 1, "not the folder of a run"),
        (bare, out, (), 1, "bare"),
        (good, out, ("--format=onxx",), 2, "Did you mean 'onnx'"),
        (good, "", (), 2, "--out is empty"),
        (good, out, ("--config=configs/senet.py",), 2, "omit --config"),
    ):
        assert call("--mode=export", f"--workdir={workdir}", f"--out={place}", *more) == code
        assert message in capsys.readouterr().err
        assert sorted(tmp_path.rglob("*")) == before
    assert call("--mode=report", "--format=onnx") == 2
