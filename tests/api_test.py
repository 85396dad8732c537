"""The public interface: the same answers as the command line, on arrays and tables."""

import ast
import inspect
import io
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import dtc_jax
from dtc_jax import api
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import volume


@pytest.fixture(scope="module")
def networks(segmenter, classifier):
    return dtc_jax.load_predictors(segmenter.workdir, classifier.workdir)


def test_the_table_of_names_is_what_type_checkers_see():
    tree = ast.parse(pathlib.Path(dtc_jax.__file__).read_text())
    seen = {
        (node.module, alias.name, alias.asname)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("dtc_jax")
        for alias in node.names
    }
    assert seen == {(where, name, name) for name, where in dtc_jax._PUBLIC.items()}
    for name in dtc_jax._PUBLIC:
        described = inspect.getdoc(getattr(dtc_jax, name))
        assert described, name
    assert set(dtc_jax._PUBLIC) <= set(dir(dtc_jax))
    with pytest.raises(AttributeError, match="has no attribute 'predcit'"):
        _ = dtc_jax.predcit


def test_every_public_function_is_reached_by_the_package():
    own = {
        name
        for name, what in vars(api).items()
        if inspect.isfunction(what) and what.__module__ == api.__name__ and name[0] != "_"
    }
    assert own == {name for name, where in dtc_jax._PUBLIC.items() if where == api.__name__}


def test_nothing_heavy_is_imported_before_it_is_used():
    code = "import sys, dtc_jax; print([m for m in ('jax', 'numpy', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_a_scan_in_memory_gets_the_answer_of_the_command_line(
    call, chests, networks, segmenter, classifier, tmp_path
):
    scan = dtc_jax.read_scan(chests / "0.nii.gz")
    again = dtc_jax.from_array(scan.array, affine=scan.affine)
    answer = dtc_jax.predict(again, networks)
    out = tmp_path / "answer"
    code = call(
        *("--mode=predict", f"--scan={chests / '0.nii.gz'}", f"--out={out}"),
        *(f"--segmenter={segmenter.workdir}", f"--classifier={classifier.workdir}"),
    )
    assert code == 0
    written = pd.read_csv(out / "lesions.csv")
    assert len(written) == 2
    assert answer.table.slice.isna().all()  # only a file numbers its slices
    columns = written.columns.drop("slice").tolist()
    same = pd.read_csv(io.StringIO(answer.table[columns].to_csv(index=False)))
    pd.testing.assert_frame_equal(same, written[columns], rtol=1e-4)
    given = dtc_jax.predict(again, networks, lungs=dtc_jax.find_lungs(again).array)
    assert given.mask.array.tolist() == answer.mask.array.tolist()


def test_outlined_lesions_need_no_segmenter(chests, classifier):
    networks = dtc_jax.load_predictors(None, classifier.workdir)
    scan = dtc_jax.read_scan(chests / "0.nii.gz")
    numbers = volume.read_numbers(chests / "0-mask.nii.gz", scan)
    answer = dtc_jax.predict(scan, networks, lesions=numbers)
    assert answer.table.lesion_id.tolist() == [1, 2]
    assert answer.table.refractory_probability.between(0, 1).all()
    with pytest.raises(UsageError, match="give the lesions, or networks with a segmenter"):
        dtc_jax.predict(scan, networks)
    for wrong, words in (
        (np.ones((1, 1, 1)), "lesions"),
        (np.where(numbers == 1, 2.5, 0.0), "lesions"),
        (np.where(numbers == 1, -1, 0), "lesions"),
        (np.where(numbers == 1, 2**16, 0), "numbers above 65535"),
    ):
        with pytest.raises(InputError, match=words):
            dtc_jax.predict(scan, networks, lesions=wrong)
    again = dtc_jax.predict(scan, networks, lesions=answer.mask, lungs=dtc_jax.find_lungs(scan))
    pd.testing.assert_frame_equal(again.table, answer.table)
    with pytest.raises(InputError, match="lungs is empty"):
        dtc_jax.predict(scan, networks, lesions=numbers, lungs=np.zeros(scan.shape))


@pytest.mark.parametrize(
    ("array", "fields", "words"),
    [
        (np.zeros((2, 2)), {"spacing_mm": (1, 1, 1)}, r"shape \(2, 2\)"),
        (np.full((2, 2, 2), np.nan), {"spacing_mm": (1, 1, 1)}, "NaN"),
        (np.zeros((2, 2, 2)), {"spacing_mm": (1, 0, 1)}, "the scan: "),
        (np.zeros((2, 2, 2)), {"affine": np.eye(3)}, "4 × 4"),
        (np.zeros((2, 2, 2)), {}, "give spacing_mm"),
        (np.full((2, 2, 2), 2**17), {"spacing_mm": (1, 1, 1)}, "which no CT has"),
    ],
)
def test_an_array_that_is_no_scan_is_refused(array, fields, words):
    with pytest.raises(InputError, match=words):
        dtc_jax.from_array(array, **fields)


def test_an_array_gets_its_spacing():
    scan = dtc_jax.from_array(np.zeros((2, 3, 4)), (5.0, 0.7, 0.8))
    assert scan.array.dtype == np.int16
    assert scan.spacing_mm.tolist() == [5.0, 0.7, 0.8]
    assert scan.world((1, 1, 1)).tolist() == [0.8, 0.7, 5.0]


def test_an_array_with_an_affine_is_turned_as_a_file_is():
    hu = np.arange(24).reshape(2, 3, 4)
    affine = np.zeros((4, 4))  # (z, y, x) to RAS of a scan whose x and y run to left and back (LPS)
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = (5.0, -0.7, -0.8, 1.0)
    scan = dtc_jax.from_array(hu, affine=affine)
    np.testing.assert_array_equal(scan.array, hu[:, ::-1, ::-1])
    np.testing.assert_allclose(scan.world((0, 2, 3)), 0, atol=1e-9)


def test_configurations_by_name():
    config = dtc_jax.get_config("senet:demo", {"train.epochs": 3})
    assert config.train.epochs == 3
    assert config.is_locked
    for name, fields, words in (
        ("resnet", {}, "there is no configuration 'resnet'"),
        ("senet:tiny", {}, "has no variant 'tiny'"),
        ("senet", {"model.widht": 3}, "does not fit the config"),
    ):
        with pytest.raises(UsageError, match=words):
            dtc_jax.get_config(name, fields)
    with pytest.raises(UsageError, match="--mode=pipeline"):
        dtc_jax.train(dtc_jax.get_config("pipeline:demo"), "unused")


@pytest.mark.extras
def test_a_training_gives_its_figures_and_a_table_its_report(classifier, tmp_path):
    evaluation = dtc_jax.train(classifier.config, classifier.workdir)  # finished: nothing is redone
    table = evaluation.tables["predictions.csv"]
    assert 0 <= evaluation.metrics["network"]["primary"]["test"]["auc"]["value"] <= 1
    rng = np.random.default_rng(0)
    other = table.assign(run="other", score=rng.random(len(table))).drop(columns="decision")
    page = dtc_jax.write_report([table, other], tmp_path / "report")
    assert "other" in pathlib.Path(page).read_text()
    with pytest.raises(InputError, match="no column score"):
        dtc_jax.write_report(table.drop(columns="score"), tmp_path / "report")


def test_the_claims_of_a_paper_are_recomputed():
    sums = [{"name": "lesions", "total": "10", "parts": ["4", "5"]}]
    result = dtc_jax.audit_claims({"title": "a paper", "sums": sums})
    assert result["findings"] == ["lesions: the parts sum to 9, not 10."]
    with pytest.raises(InputError, match="total"):
        dtc_jax.audit_claims({"title": "a paper", "sums": [{"name": "lesions", "parts": ["4"]}]})
    with pytest.raises(InputError, match="claims: is a str, not a dictionary"):
        dtc_jax.audit_claims("claims.yaml")
