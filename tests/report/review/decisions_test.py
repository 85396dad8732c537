"""The filled CSV of the review page."""

import pandas as pd
import pytest

from dtc_jax.errors import InputError
from dtc_jax.report.review import check_same_answer, read_decisions

HEAD = "lesion_id,verdict,comment,reviewer\n"


def read(tmp_path, text: str | bytes, lesion_ids=(1, 2)) -> pd.DataFrame:
    path = tmp_path / "review.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_decisions(path, lesion_ids)


def test_decisions_are_read(tmp_path):
    table = read(
        tmp_path, HEAD + '2,reject,"vessel, not ""nodule""\r\nsure; 🫁",Dr. Übel\n1,accept,,\n'
    )
    assert table.to_dict("list") == {
        "lesion_id": [1, 2],
        "verdict": ["accept", "reject"],
        "comment": ["", 'vessel, not "nodule"\nsure; 🫁'],
        "reviewer": ["", "Dr. Übel"],
    }
    assert read(tmp_path, HEAD, ()).empty


def test_a_lesion_that_was_drawn_may_have_a_row(tmp_path):
    path = tmp_path / "review.csv"
    path.write_text(HEAD + "1,accept,,\n9,accept,missed,Ann\n")
    table = read_decisions(path, {1}, added={8, 9})
    assert table.lesion_id.tolist() == [1, 9]
    assert table.reviewer.tolist() == ["", "Ann"]
    path.write_text(HEAD + "1,accept,,\n9,reject,,Ann\n")
    with pytest.raises(
        InputError, match="row 3: the verdict of lesion 9 is reject, but it was added"
    ):
        read_decisions(path, {1}, added={8, 9})


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_spreadsheet_may_have_saved_it(tmp_path, mark):
    lines = [
        ["Lesion_ID", "verdict", "comment", "reviewer", "refractory_probability", "notice"],
        ["1.0", "Accept ", f'"a{mark} b"', "Müller", "0.61", "For research use only"],
        ["2", "", "", "", "", ""],
        ["", "", "", "", "", ""],
    ]
    text = "\ufeff" + "".join(mark.join(line) + "\r\n" for line in lines)
    table = read(tmp_path, text)
    assert table.verdict.tolist() == ["accept", ""]
    assert table.comment.tolist() == [f"a{mark} b", ""]
    assert table.reviewer.tolist() == ["Müller", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "1,accept,,\n", "no row for lesion 2"),
        (HEAD + "1,accept,,\n2,,,\n7,reject,,\n", "row 4: lesion 7 is not one of the 2 lesions"),
        (HEAD + "1,accept,,\n1,reject,,\n2,,,\n", "row 3: lesion 1 is listed twice"),
        (HEAD + "1,maybe,,\n2,,,\n", "row 2: verdict is 'maybe'; it must be accept, reject or"),
        (HEAD + "x,accept,,\n2,,,\n", "row 2: lesion_id is 'x'"),
        (HEAD + ",accept,,\n2,,,\n", "row 2: lesion_id is ''"),
        (HEAD + "1,accept,a, b,c\n2,,,\n", "row 2: has 5 cells"),
        (HEAD + '1,accept,"open,\n2,,,\n', "is not valid CSV"),
        ("lesion_id,comment,reviewer\n1,,\n", "column verdict is missing"),
        (HEAD.replace("comment", "verdict"), "row 1, verdict: 2 columns have this name"),
        ("Label,label," + HEAD + "1,0,1,accept,,\n", "row 1: column label appears twice"),
        (HEAD.replace("comment", "Verdict"), "row 1: column verdict appears twice"),
        (HEAD + f"{'1' * 5000},accept,,\n2,,,\n", "1'; it must be a lesion number"),
        ("", "is empty"),
        ((HEAD + "1,accept,für,\n2,,,\n").encode("cp1252"), "save the file as 'CSV UTF-8'"),
        ((HEAD + "1,accept,,\n2,,,\n").encode("utf-16"), "save the file as 'CSV UTF-8'"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(tmp_path, text, message):
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "review.csv"))
    assert message in str(error.value)


def test_the_review_of_another_answer_is_refused(tmp_path):
    path = tmp_path / "review.csv"
    head = "lesion_id,verdict,comment,reviewer,refractory_probability,diameter_mm\n"
    answer = pd.DataFrame(
        {"lesion_id": [1, 2], "refractory_probability": [0.613, 0.2], "diameter_mm": [8.04, 12.0]}
    )
    path.write_text(head + '1,accept,,,"0,61",8\n2.0,reject,,,,\n9,accept,,,0.5,3\n')
    check_same_answer(path, answer)
    for cells, column in (("0.65,8.04", "refractory_probability"), ("0.613,9.1", "diameter_mm")):
        path.write_text(head + f"2,accept,,,0.2,12\n1,accept,,,{cells}\n")
        with pytest.raises(InputError, match=f"row 3: {column} of lesion 1 is .* another answer"):
            check_same_answer(path, answer)
    path.write_text(HEAD + "1,accept,,\n2,accept,,\n")
    check_same_answer(path, answer)


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_decisions(tmp_path / "none.csv", [1])
    with pytest.raises(InputError, match="is a folder"):
        read_decisions(tmp_path, [1])


def test_the_guard_against_formulas_is_taken_away_and_no_more(tmp_path):
    comments = [" ", "'=1+1", "''-2", "'quoted'", "it's -3", "a;'=x", "' @b", "-4"]
    lines = "".join(f'{i},,"{text}",\n' for i, text in enumerate(comments))
    table = read(tmp_path, HEAD + lines, range(len(comments)))
    assert table.comment.tolist() == [
        " ",
        "=1+1",
        "'-2",
        "'quoted'",
        "it's -3",
        "a;=x",
        " @b",
        "-4",
    ]
