"""A pipeline goes on where it was stopped, with what is still true, or is refused untouched."""

import json
import pathlib
import pickle
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from dtc_jax.cohort.manifest import read_manifest
from dtc_jax.errors import InputError, Stopped
from dtc_jax.evaluation import reference_scan
from dtc_jax.imaging import volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.runs import pipeline

pytestmark = pytest.mark.extras  # trains anew and again


def _files(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_command_keeps_what_is_done(run, config, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    kept, other, *_ = sorted(tmp_path.glob("run/regions/*/lesions.csv"))
    written = kept.stat().st_mtime_ns
    for name in ("regions.csv", "pipeline.json"):
        (tmp_path / "run" / name).unlink()
    shutil.rmtree(other.parent)
    pipeline.run(config, tmp_path / "run")
    assert (tmp_path / "run" / "pipeline.json").read_bytes() == (run / "pipeline.json").read_bytes()
    assert kept.stat().st_mtime_ns == written
    assert "whom neither network has seen" in capsys.readouterr().out


def test_a_manifest_in_another_order_takes_no_scan_for_another_ones(run, config, cohort, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    before, text = pd.read_csv(run / "regions.csv").set_index("lesion_id"), cohort.read_text()
    shutil.rmtree(min(tmp_path.glob("run/regions/*/")))
    try:
        pd.read_csv(cohort).iloc[::-1].to_csv(cohort, index=False)
        pipeline.run(config, tmp_path / "run")
    finally:
        cohort.write_text(text)
    after = pd.read_csv(tmp_path / "run" / "regions.csv").set_index("lesion_id")
    pd.testing.assert_frame_equal(after.loc[before.index], before)


def test_networks_trained_again_on_other_masks_are_judged_again(run, config, cohort, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    before = pd.read_csv(run / "regions.csv").set_index("lesion_id")
    lesion = before.index[0]
    (row,) = read_manifest(cohort, healthy=True).query("lesion_id == @lesion").itertuples()
    text = pathlib.Path(row.mask).read_bytes()
    labels = volume.read_image(row.mask)
    grown = ndimage.binary_dilation(labels.array == row.mask_label)
    array = np.where(grown, row.mask_label, labels.array).astype(np.uint8)
    volume.write(row.mask, Volume(array, labels.affine))
    try:
        for name in ("segmenter", "classifier"):  # what the errors about other data advise
            shutil.rmtree(tmp_path / "run" / name)
        pipeline.run(config, tmp_path / "run")
    finally:
        pathlib.Path(row.mask).write_bytes(text)
    after = pd.read_csv(tmp_path / "run" / "regions.csv").set_index("lesion_id")
    assert after.volume_mm3[lesion] > before.volume_mm3[lesion]


def test_figures_do_not_outlive_their_networks(run, config, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "classifier")

    def stopped(*args, **options):
        raise Stopped("while it trained")

    monkeypatch.setattr(pipeline.train, "run", stopped)
    with pytest.raises(Stopped):
        pipeline.run(config, tmp_path / "run")
    assert not (tmp_path / "run" / "pipeline.json").exists()
    assert not (tmp_path / "run" / "regions.csv").exists()


@pytest.mark.parametrize("column", ["label", "split"])
def test_a_refused_call_leaves_the_folder_as_it_was(run, config, cohort, tmp_path, column):
    shutil.copytree(run, tmp_path / "run")
    before, text = _files(tmp_path / "run"), cohort.read_text()
    other = config.copy_and_resolve_references()
    other.classifier.train.log_every_steps = 3
    table = pd.read_csv(cohort, dtype=str)
    if column == "label":  # the segmenter's data are as they were
        table.loc[0, "label"] = "1"
    else:  # another patient, who may move all others to another side
        table = table[table.patient_id != "p03"]
    try:
        table.to_csv(cohort, index=False)
        with pytest.raises(
            InputError, match=r"contains a run on other data \(different: .*split|lab"
        ):
            pipeline.run(other, tmp_path / "run")
    finally:
        cohort.write_text(text)
    assert _files(tmp_path / "run") == before


def test_fields_that_change_no_figure_may_change_when_a_run_goes_on(run, config, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "pipeline.json").unlink()
    kept = {path.name for path in tmp_path.glob("run/regions/*/")}
    other = config.copy_and_resolve_references()
    other.classifier.write_report = True
    other.segmenter.train.log_every_steps = 3
    other.segmenter.split.seed = 9  # that of config.split counts
    pipeline.run(other, tmp_path / "run")
    assert (tmp_path / "run" / "pipeline.json").read_bytes() == (run / "pipeline.json").read_bytes()
    assert (tmp_path / "run" / "classifier" / "report" / "report.html").is_file()
    assert {path.name for path in tmp_path.glob("run/regions/*/")} == kept
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["classifier"]["write_report"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("segmenter.predict.overlap", 0.25),
        ("classifier.model.width", 5),
        ("classifier.data.size_mm", (36, 36, 36)),
        ("perturb.shift_mm", 1.0),
        ("split.seed", 1),
    ],
)
def test_fields_that_change_a_figure_are_refused(run, config, field, value):
    other = config.copy_and_resolve_references()
    other.update_from_flattened_dict({field: value})
    with pytest.raises(InputError, match=f"another configuration .*{field}"):
        pipeline.run(other, run)


@pytest.fixture
def stop_at(monkeypatch):
    """Has a scan of the given number in turn send the process a signal while it is segmented."""

    # Who runs the tests in the background has SIGINT ignored, and so would they.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop_at(number, which):
        find, seen = reference_scan.find, []

        def stopping(*given):
            seen.append(given)
            if len(seen) == number:
                signal.raise_signal(which)
            return find(*given)

        monkeypatch.setattr(reference_scan, "find", stopping)

    yield stop_at
    monkeypatch.undo()
    signal.signal(signal.SIGINT, before)


def test_a_signal_while_scans_are_judged_is_exit_code_75_and_what_is_done_is_kept(
    run, config, call, stop_at, tmp_path, monkeypatch, capsys
):
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("regions"))
    for name in ("regions.csv", "pipeline.json"):
        (tmp_path / "run" / name).unlink()
    (tmp_path / "config.pkl").write_bytes(pickle.dumps(config))
    (tmp_path / "config.py").write_text(
        "import pathlib\nimport pickle\n\n\ndef get_config(arg=''):\n"
        f"    return pickle.loads(pathlib.Path({str(tmp_path / 'config.pkl')!r}).read_bytes())\n"
    )
    arguments = (
        "--mode=pipeline",
        f"--config={tmp_path / 'config.py'}",
        f"--workdir={tmp_path / 'run'}",
    )
    stop_at(3, signal.SIGTERM)
    assert call(*arguments) == 75
    assert "same command again" in capsys.readouterr().err
    assert not (tmp_path / "run" / "pipeline.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("run/regions/*/scans.csv")}
    assert len(kept) == 2
    monkeypatch.undo()
    assert call(*arguments) == 0
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    for name in ("regions.csv", "pipeline.json"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()


def test_evaluate_on_whole_scans_answers_a_signal_and_goes_on(
    run, cohort, call, stop_at, tmp_path, monkeypatch, capsys
):
    shutil.copytree(run, tmp_path / "run")
    own = tmp_path / "run" / "segmenter"
    arguments = ("--mode=evaluate", f"--workdir={own}", f"--scans={cohort}")
    stop_at(3, signal.SIGINT)
    assert call(*arguments) == 75
    assert "same command again" in capsys.readouterr().err
    assert not (own / "scans").exists()
    kept = {path: path.stat().st_mtime_ns for path in own.glob("judged/*/scans.csv")}
    assert len(kept) == 2
    monkeypatch.undo()
    assert call(*arguments) == 0
    assert "2 of " in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    scans = pd.read_csv(own / "scans" / "scans.csv")
    sides = pd.read_csv(run / "split.csv").set_index("patient_id").split
    unseen = {*sides.index[sides == "test"], "p14", "p15", "h4"}
    assert set(scans.patient_id) == unseen
    assert len(scans) == len(unseen) + 1  # two of p15
