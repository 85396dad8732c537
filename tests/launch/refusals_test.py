"""Wrong use and bad input: one message that says what to do, and nothing half-written."""

import io
import pathlib
import sys

import pandas as pd
import pytest

import launch

CONFIG = f"{pathlib.Path(launch.__file__).parent}/configs/senet.py"
VNET = f"{pathlib.Path(launch.__file__).parent}/configs/vnet.py"

DEMO_SWEEP = f"--sweep={pathlib.Path(launch.__file__).parent}/configs/sweeps/demo.py"
PREDICT = ["--mode=predict", "--segmenter=s", "--classifier=c", "--out=o"]
SERIES = "--scan=dicomweb://pacs/studies/1.2/series/3.4"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config=configs/none.py"], ["configs/none.py", "no such config"]),
        ([f"--config={CONFIG}:dem"], ["no variant 'dem'"]),
        ([f"--config={CONFIG}:demo", "--config.model.widht=8"], ["widht", "width"]),
        ([f"--config={CONFIG}:demo", "--config.model.width=a"], ["width"]),
        ([f"--config={CONFIG}:demo", "--config.model.width=0"], ["config.model.width is 0"]),
        ([f"--config={CONFIG}:demo", "--config.model.norm=layer"], ["config.model.norm"]),
        ([f"--config={CONFIG}:demo", "--config.threshold=best"], ["threshold='best'"]),
        ([f"--config={CONFIG}:demo", "--config.parallel=xmap"], ["config.parallel"]),
        ([f"--config={CONFIG}:demo", "--config.train.batch_size=7"], ["batch_size is 7"]),
        ([f"--config={CONFIG}:demo", "--config.train.accumulate=3"], ["accumulate (3)", "16"]),
        (
            [f"--config={CONFIG}:demo", "--config.report.patient_truth=some"],
            ["config.report.patient_truth is 'some'", "any, all"],
        ),
        (
            [f"--config={CONFIG}:demo", "--config.augment.noise_hu=nan"],
            ["config.augment.noise_hu is nan; give finite numbers."],
        ),
        (
            [f"--config={CONFIG}:demo", "--config.optimizer.learning_rate=inf"],
            ["config.optimizer.learning_rate is inf"],
        ),
        (
            [f"--config={CONFIG}:demo", "--config.augment.flip=(0.5,1e999,0.5)"],
            ["config.augment.flip is (0.5, inf, 0.5)"],
        ),
        (
            [f"--config={CONFIG}:demo", "--config.loss.graded_range=(1.0,)"],
            ["config.loss.graded_range=(1.0,): give two different numbers."],
        ),
        (
            [f"--config={CONFIG}:demo", "--config.optimizer.learning_rate=-1.0"],
            ["config.optimizer.learning_rate is -1.0; it must be at least 0."],
        ),
        *(
            (
                [f"--config={CONFIG}:demo", f"--config.{field}=-1"],
                [f"config.{field} is -1; it must be from 0 to 1000000000."],
            )
            for field in ("seed", "selection.seed", "data.phantom.seed")
        ),
        (
            [f"--config={CONFIG}:demo", "--config.loss.label_smoothing=3.0"],
            ["config.loss.label_smoothing is 3.0; it must be from 0 to 1."],
        ),
        (
            [f"--config={CONFIG}:demo", "--config.preprocess.crop_mm=(32,48,32)"],
            ["config.preprocess.crop_mm is (32, 48, 32)", "config.data.size_mm of (40, 40, 40)"],
        ),
        (
            [f"--config={VNET}:demo", "--config.predict.crop_mm=(64,64,64)"],
            ["config.predict.crop_mm is (64, 64, 64)", "config.data.size_mm of (40, 40, 40)"],
        ),
        (
            [f"--config={VNET}:demo", "--config.predict.crop_mm=(24,24)"],
            ["config.predict.crop_mm is (24, 24); give numbers for z, y and x."],
        ),
        ([f"--config={CONFIG}:demo", "extra"], ["'extra' is not a flag"]),
        *(
            ([f"--config={CONFIG}:demo", f"--config.{given}"], [f"--config.{given} is {words}."])
            for given, words in (
                ("train.epochs=2.5", "not a whole number"),
                ("optimizer.learning_rate=fast", "not a number"),
                ("model.se=maybe", "neither True nor False"),
            )
        ),
        ([f"--config={CONFIG}:demo", "--config.train.epoch=3"], ["field: 'epoch'. Did you mean"]),
        ([], ["--mode=train needs --config"]),
        (["--mode=pipeline"], ["--mode=pipeline needs --config"]),
        (["--mode=evaluate", "--workdir=run", "--scans="], ["--scans is empty"]),
        (["--mode=export", "--workdir=run", "--out=b", "--format="], ["--format is empty"]),
        (["--mode=evaluate", "--workdir=run", "--lungs=a.nii"], ["--lungs is for --mode=predict"]),
        (["--mode=evaluate", "--workdir=run", "--threshold=0.3"], ["--threshold is for --mode=r"]),
        (["--mode=evaluate", "--workdir=run", "--engine=ray"], ["--engine is for --mode=sweep"]),
        (["--mode=evaluate", "--workdir=run", "--predictions=a.csv"], ["--predictions is for"]),
        (
            ["--mode=report", "--predictions=a.csv", "--out=r", "--workdir=run"],
            ["--workdir is for"],
        ),
        (
            [f"--config={CONFIG}:demo", "--out=here"],
            ["--out is for --mode=predict, --mode=report,", "and --mode=sweep."],
        ),
        (["--mode=export", "--workdir=run", "--out=b", "--keep-identity"], ["--keep_identity is"]),
        (["--mode=predict", "--scan=a.nii", "--candidates="], ["--candidates is empty"]),
        (["--mode=predict", "--review=a.csv", "--out=b", "--mask="], ["--mask is empty"]),
        (["--mode=pipeline", f"--config={CONFIG}:demo"], ["two networks", "configs/pipeline.py"]),
        (["--mode=sweep", f"--config={CONFIG}:demo", "--out=out"], ["--mode=sweep needs"]),
        ([f"--config={CONFIG}:demo", "--sweep=mine.py"], ["--sweep is for --mode=sweep"]),
        (
            ["--mode=sweep", f"--config={CONFIG}:demo", "--sweep=mine.py", "--out=out"],
            ["--sweep=mine.py", "no such file"],
        ),
        (
            ["--mode=sweep", f"--config={CONFIG}:demo", "--sweep=m.py", "--out=o", "--engine=lo"],
            ["--engine is 'lo'", "local"],
        ),
        (
            ["--mode=sweep", f"--config={CONFIG}:demo", DEMO_SWEEP, "--out=o", "--config.seed=3"],
            ["--config.seed would have no effect", "sweeps/demo.py sets it", "'seeds'"],
        ),
        (
            ["--mode=sweep", f"--config={CONFIG}:demo", DEMO_SWEEP, "--out=o", "--scans=s.csv"],
            ["--scans evaluates the segmenters of a sweep", "trains a classifier"],
        ),
        (
            ["--mode=report", "--predictions=a.csv", "--out=r", "--scans=s.csv"],
            ["--scans is for --mode=evaluate, --mode=predict and --mode=sweep."],
        ),
        ([*PREDICT, "--scan=dicomweb://pacs/studies/1.2"], ["does not name a series"]),
        ([*PREDICT, SERIES, "--series=2"], ["is the address of one series; omit --series"]),
        ([*PREDICT, SERIES, "--send=dicom://pacs/A"], ["dicom://HOST:PORT/AET"]),
        ([*PREDICT, f"--scan={CONFIG}", "--send=dicom://pacs:104/A"], ["needs a DICOM series"]),
        ([*PREDICT, "--scans=a.csv", "--send=dicom://pacs:104/A"], ["--send is for one --scan"]),
        (["--mode=evaluate", "--send=dicom://pacs:104/A"], ["--send is for --mode=predict"]),
        (["--mode=evaluate"], ["--workdir"]),
        (["--mode=evaluat"], ["evaluat"]),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    call, arguments, words, refused, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    refused(*words)
    assert not list(tmp_path.iterdir())  # nothing half-written


def _edited(study, folder, **columns):
    """A manifest beside the study's scans with other columns."""
    table = pd.read_csv(study).assign(**columns)
    path = study.parent / f"{folder.name}.csv"
    table.to_csv(path, index=False)
    return f"--config.data.manifest={path}"


def test_one_class_alone_cannot_be_trained_on(study, train, tmp_path, refused):
    assert train(tmp_path / "run", _edited(study, tmp_path, label=1)) == 1
    refused("RAI-avid (0)")


def test_fewer_patients_than_folds_is_said(study, train, tmp_path, refused):
    assert train(tmp_path / "run", "--config.split.folds=30") == 2
    refused("config.split.folds is 30, and there are 20 patients")


def test_all_that_is_wrong_with_a_manifest_is_said_at_once(study, train, tmp_path, refused):
    table = pd.read_csv(study)
    table.loc[3, "lesion_id"] = table.lesion_id[2]
    table.loc[5, "image"] = "../p02.nii.gz"
    table["label"] = table.label.astype(object)
    table.loc[7, "label"] = 2
    path = study.parent / f"{tmp_path.name}.csv"
    table.to_csv(path, index=False)
    assert train(tmp_path / "run", f"--config.data.manifest={path}") == 1
    refused("lesion_id", "image", "label", "row")


def test_a_truncated_scan_is_named(study, train, tmp_path, refused):
    scan = study.parent / f"{tmp_path.name}.nii.gz"
    scan.write_bytes((study.parent / "p03.nii.gz").read_bytes()[:4000])
    images = pd.read_csv(study).image.replace("p03.nii.gz", scan.name)
    assert train(tmp_path / "run", _edited(study, tmp_path, image=images)) == 1
    refused(scan.name)


def test_a_folder_of_something_else_is_not_written_into(train, tmp_path, refused):
    (tmp_path / "thesis.txt").write_text("mine")
    assert train(tmp_path) == 1
    refused("contains files but no config.json")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.extras
def test_a_full_disk_is_said_and_leaves_no_half_dataset(run_apart, tmp_path):
    limited = ("bash", "-c", 'ulimit -f 20; exec "$@"', "bash")  # KiB a file
    running = run_apart(tmp_path / "run", *limited)
    _, said = running.communicate()
    assert running.returncode == 1, said
    assert "no space left" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "data").glob("lesion_crops*"))


@pytest.mark.parametrize("folder", ["", "empty"])
def test_evaluate_wants_the_folder_of_a_run(call, folder, tmp_path, refused):
    assert call("--mode=evaluate", f"--workdir={tmp_path / folder}") == 1
    refused("not the folder of a run")


def test_want_of_memory_is_said(call, little_memory, tmp_path, refused):
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(2**28)  # of nothing
    with little_memory():
        assert call("--mode=audit", f"--claims={path}") == 1
    refused("--mode=audit does not fit into memory", "Stop other programs")


def test_a_training_refused_before_its_first_step_leaves_no_folder(study, train, tmp_path, refused):
    assert train(tmp_path / "run", "--config.train.batch_size=80") == 2
    refused("config.train.batch_size is 80, but there are only")
    assert not (tmp_path / "run").exists()  # else it would belong to a run that never was


def test_a_terminal_without_a_character_gets_an_escape(call, monkeypatch):
    said = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(said, "ascii", write_through=True))
    assert call("--help") == 0
    print("3 × 4 mm – 肺")
    assert said.getvalue().endswith(b"3 \\xd7 4 mm \\u2013 \\u80ba\n")
