"""The table of predictions: what is read, what is filled in, and what is refused in which words."""

import numpy as np
import pandas as pd
import pytest

from dtc_jax.errors import InputError
from dtc_jax.statistics import predictions_table, threshold

HEADER = "patient_id,lesion_id,label,score"
GOOD = f"{HEADER}\nP1,a,1,0.9\nP1,b,0,0.2\nP2,a,,0.5\nP3,a,1,\n"


def _read(tmp_path, text, name="model_a.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return predictions_table.read(path)


def test_the_four_columns_are_enough(tmp_path):
    found = predictions_table.complete(_read(tmp_path, GOOD))
    assert set(found.run) == {"model_a"}
    assert set(found.cohort) == {"primary"}
    assert set(found.split) == {"test"}
    assert set(found.threshold) == {0.5}
    assert set(found.threshold_source) == {"0.5 by default: the table has no threshold"}
    np.testing.assert_array_equal(found.label, [1, 0, np.nan, 1])
    np.testing.assert_array_equal(found.decision, [1, 0, 1, np.nan])
    assert found.index.tolist() == [2, 3, 4, 5]


def test_a_run_is_named_by_its_folder_where_the_file_is_called_predictions(tmp_path):
    folder = tmp_path / "senet"
    folder.mkdir()
    assert set(_read(folder, GOOD, "predictions.csv").run) == {"senet"}


def test_scores_are_read_to_their_last_digit_and_ids_as_they_are(tmp_path):
    scores = np.random.default_rng(0).random(500)
    rows = "".join(f"007,{i:03d},1,{score!r}\n" for i, score in enumerate(scores.tolist()))
    found = _read(tmp_path, f"{HEADER}\n{rows}")
    np.testing.assert_array_equal(found.score, scores)
    assert set(found.patient_id) == {"007"}
    assert found.lesion_id[2] == "000"


def test_blanks_a_mark_of_byte_order_and_words_for_nothing_do_no_harm(tmp_path):
    text = f"{HEADER},diameter_mm\n P1 , a ,1, 0.9 ,NA\n\nNA,b,0,0.1,4.5\n"
    found = _read(tmp_path, text.encode("utf-8-sig"))
    assert found.patient_id.tolist() == ["P1", "NA"]  # a patient may be called so
    np.testing.assert_array_equal(found.diameter_mm, [np.nan, 4.5])
    assert found.index.tolist() == [2, 4]


def test_the_tables_own_threshold_goes_first_then_the_given_one(tmp_path):
    text = f"{HEADER},threshold\nP1,a,1,0.4,0.3\nP2,a,0,0.4,\n"
    found = predictions_table.complete(_read(tmp_path, text), threshold=0.45)
    assert found.threshold.tolist() == [0.3, 0.45]
    assert found.decision.tolist() == [1, 0]
    assert found.threshold_source.tolist() == [
        "the table's column `threshold`",
        "0.45, given for this report",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (f"{HEADER}\n", "has a header but no rows"),
        (
            "patient_id;lesion_id;label;score\nP1;a;1;0,9\n",
            "'0,9' is not a number; write decimals with a point",
        ),
        (f"{HEADER}\nP1,a,1,0.9\nP2,a,0\n", "row 3: has 3 cells, but the header has 4"),
        ("patient_id,lesion_id,label\nP1,a,1\n", "no column score"),
        (f"{HEADER},score\nP1,a,1,0.9,0.9\n", "row 1, score: 2 columns have this name"),
        (f"{HEADER}\nP1,a,1,0.9\nP2,a,0,1.2\n", "row 3, score: 1.2 is outside"),
        (f"{HEADER}\nP1,a,1,-3\n", "it must be a probability of RAI-refractory"),
        (f"{HEADER}\nP1,a,1,inf\n", "row 2, score: inf is outside"),
        (f"{HEADER}\nP1,a,1,high\n", "row 2, score: 'high' is not a number"),
        (f"{HEADER}\nP1,a,1,0.5_1\n", "row 2, score: '0.5_1' is not a number"),
        (f"{HEADER}\nP1,a,2,0.5\n", "row 2, label: 2 is not 0"),
        (f"{HEADER}\nP1,a,yes,0.5\n", "row 2, label: 'yes' is not a number"),
        (f"{HEADER}\n,a,1,0.5\n", "row 2, patient_id: '' is empty"),
        (f"{HEADER}\nP1,a,1,0.9\nP1,a,1,0.8\n", "row 3, lesion_id: 'a' has another row"),
        (f"{HEADER},split\nP1,a,1,0.9,train\nP1,a,1,0.8,test\n", "is in two splits"),
        (f"{HEADER},split\nP1,a,1,0.9,dev\n", "row 2, split: 'dev' is not one of train"),
        (f"{HEADER},cohort\nP1,a,1,0.9,x\nP1,b,1,0.8,y\n", "row 3, cohort: 'y' differs from"),
        (f"{HEADER},run\nP1,a,1,0.9,x\nP1,a,0,0.8,y\n", "row 3, label: 0 differs from"),
        (f"{HEADER},threshold\nP1,a,1,0.9,1.5\n", "row 2, threshold: 1.5 is outside"),
        (f"{HEADER},fold\nP1,a,1,0.9,0\nP2,a,0,0.1,1e300\n", "row 3, fold: 1e+300 is not a whole"),
        (f"{HEADER},fold\nP1,a,1,0.9,inf\n", "row 2, fold: inf is not a whole number from 0 to"),
        (f"{HEADER},fold\nP1,a,1,0.9,2147483648\n", "row 2, fold: 2.14748e+09 is not a whole"),
        (f"{HEADER},diameter_mm\nP1,a,1,0.9,-1\n", "row 2, diameter_mm: -1 is"),
        (f"{HEADER},diameter_mm\nP1,a,1,0.9,0\n", "above 0 and up to 500; leave it empty"),
        (f"{HEADER},diameter_mm\nP1,a,1,0.9,1e300\n", "row 2, diameter_mm: 1e+300 is not"),
        (f"{HEADER},diameter_mm\nP1,a,1,0.9,inf\n", "row 2, diameter_mm: inf is not"),
        (
            f"{HEADER},age\nP1,a,1,0.9,19480312\n",
            "row 2, age: 1.94803e+07 is not a number of years",
        ),
        (f"{HEADER}\nP1,a,1,0.9\nP2,a,0,0.1,7\n", "row 3: has 5 cells, but"),
        (b"\xff\xfe" + HEADER.encode("utf-16-le"), "is not UTF-8"),
        (f"{HEADER}\nP1,a,1,0.5\n".encode() + b"M\xfcller,a,1,0.5\n", "is not UTF-8"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, message):
    with pytest.raises(InputError) as error:
        _read(tmp_path, text)
    assert message in str(error.value)
    assert "model_a.csv" in str(error.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        predictions_table.read(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a folder"):
        predictions_table.read(tmp_path)


def test_many_wrong_rows_are_counted():
    table = pd.DataFrame(
        {"patient_id": list("abc"), "lesion_id": "1", "label": 1, "score": [2.0, 0.5, 3.0]}
    )
    with pytest.raises(InputError, match=r"row 0, score: 2 .* \(2 such rows"):
        predictions_table.check(table)


def test_tables_that_were_glued_together_name_a_row_by_its_position():
    half = pd.DataFrame({"patient_id": ["a"], "lesion_id": "1", "label": 1, "score": 0.5})
    glued = pd.concat([half, half.assign(patient_id="b", score=2.0)])
    with pytest.raises(InputError, match=r"^row 1, score: 2 is outside"):
        predictions_table.check(glued)
    assert predictions_table.check(glued.assign(score=0.5)).patient_id.tolist() == ["a", "b"]
    with pytest.raises(InputError, match="the column 'score' occurs twice; delete"):
        predictions_table.check(pd.concat([half, half[["score"]]], axis=1))


def test_a_threshold_that_nothing_reaches_is_read_again():
    labels, scores = np.array([0, 1, 1, 0, 1, 0]), np.array([1.0, 0.9, 0.7, 0.6, 0.5, 0.1])
    chosen = threshold.choose(labels, scores, "specificity:1.0")
    assert chosen > 1
    ids = [str(i) for i in range(6)]
    table = pd.DataFrame({"patient_id": ids, "lesion_id": ids, "label": labels, "score": scores})
    found = predictions_table.complete(table.assign(threshold=chosen))
    assert (found.decision == 0).all()


def test_decisions_must_be_those_of_the_threshold():
    table = pd.DataFrame(
        {"patient_id": ["a"], "lesion_id": "1", "label": 1, "score": 0.5, "decision": 1}
    )
    with pytest.raises(InputError, match="but no column `threshold`"):
        predictions_table.complete(table)
    assert predictions_table.complete(table.assign(threshold=0.5)).decision.tolist() == [1]
    with pytest.raises(InputError, match="decision: 1 contradicts"):
        predictions_table.complete(table.assign(threshold=0.6))
    with pytest.raises(InputError, match=r"threshold 1\.5 is outside"):
        predictions_table.complete(table, threshold=1.5)


def test_folds_repeat_lesions_and_a_lesion_id_may_repeat_in_other_patients():
    table = pd.DataFrame(
        {
            "patient_id": ["a", "a", "b"],
            "lesion_id": "1",
            "label": [1, 1, 0],
            "score": 0.5,
            "fold": [0, 1, 0],
        }
    )
    assert len(predictions_table.check(table)) == 3


def test_a_run_is_called_after_its_folder_whatever_bytes_its_name_has(tmp_path):
    folder = tmp_path / "odd \udcff é"
    folder.mkdir()
    (folder / "predictions.csv").write_text("patient_id,lesion_id,label,score\na,1,0,0.5\n")
    assert predictions_table.read(folder / "predictions.csv").run.tolist() == ["odd \\xff é"]
