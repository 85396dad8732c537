"""One rule for every CSV: ids, delimiters, encodings, and rows that are not complete."""

import numpy as np
import pandas as pd
import pytest

from dtc_jax import csv_reader, storage
from dtc_jax.errors import InputError


def _write(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_delimiter_is_recognized(tmp_path, delimiter, mark, end):
    lines = (["id", "note", "x"], ["007", f'"a{delimiter} b"', " 1,5 "], ["NA", "", "2"])
    if delimiter == ",":
        lines[1][2] = '"1,5"'
    text = mark + end.join(delimiter.join(line) for line in lines)
    table = csv_reader.read(_write(tmp_path, text), "x")
    assert table.to_dict("list") == {
        "id": ["007", "NA"],
        "note": [f"a{delimiter} b", ""],
        "x": ["1,5", "2"],
    }


def test_excels_line_of_the_delimiter_is_followed_and_not_counted(tmp_path):
    path = _write(tmp_path, "\ufeffsep=;\r\nid,a;b\r\n1,2;3\r\n4\r\n")
    table, problems = csv_reader.read_cells(path, "x")
    assert table.to_dict("list") == {"id,a": ["1,2"], "b": ["3"]}
    assert table.index.tolist() == [2]
    assert [problem.row for problem in problems] == [3]
    whole = _write(tmp_path, "sep=;\r\nid;x\r\n007;1.5\r\nNA;\r\n")  # a table of ours, saved again
    again = csv_reader.read_table(whole, ("id",))
    assert again.id.tolist() == ["007", "NA"]
    assert again.x.tolist() == pytest.approx([1.5, np.nan], nan_ok=True)


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_excels_line_of_the_delimiter_is_taken_by_the_command_line(
    call, capsys, tmp_path, delimiter
):
    rows = ["patient_id,lesion_id,label,score", *(f"p{i},l,{i % 2},0.{i + 1}" for i in range(8))]
    text = "\r\n".join([f"sep={delimiter}", *(row.replace(",", delimiter) for row in rows)])
    path = _write(tmp_path, text)
    assert call("--mode=report", f"--predictions={path}", f"--out={tmp_path / 'report'}") == 0
    torn = _write(tmp_path, text + "\r\np9")
    assert call("--mode=report", f"--predictions={torn}", f"--out={tmp_path / 'torn'}") == 1
    assert "row 10: has 1 cell, but the header has 4" in capsys.readouterr().err


def test_rows_are_counted_as_a_spreadsheet_does(tmp_path):
    table = csv_reader.read(_write(tmp_path, '\nid,\n\n,\n"a\nb",\nc,,,\n'), "x")
    assert table.to_dict("list") == {"id": ["a\nb", "c"]}  # neither empty rows nor unnamed columns
    assert table.index.tolist() == [5, 6]


def test_a_row_that_is_not_complete_is_a_problem_and_is_not_filled_up(tmp_path):
    path = _write(tmp_path, "id,x\na,1\nb\nc,2,3\n")
    table, problems = csv_reader.read_cells(path, "x")
    assert table.id.tolist() == ["a"]
    assert [problem.row for problem in problems] == [3, 4]
    with pytest.raises(csv_reader.TableError) as error:
        csv_reader.read(path, "x")
    assert str(error.value).splitlines()[:2] == [
        f"{path}: 2 problems",
        "  row 3: has 1 cell, but the header has 2; check for a missing or an extra comma (put "
        "text that contains one in quotes).",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "table.csv: is empty; it needs a header and one row per lesion."),
        (" \n\n,,\n", "is empty"),
        ("id,x\n", "has a header but no rows; add one row per lesion."),
        ("id,x,id\n1,2,3\n", "table.csv: row 1, id: 2 columns have this name; rename one."),
        ('id,x\n1,"2\n', "is not valid CSV"),
        ("id,x\n1,2\n\0\n", "row 3: is not UTF-8 text; save the file as 'CSV UTF-8'."),
        ("id,x\n1,für\n".encode("cp1252"), "row 2: is not UTF-8 text"),
        ("id,x\n1,2\n".encode("utf-16"), "row 1: is not UTF-8 text"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused(tmp_path, text, message):
    with pytest.raises(csv_reader.TableError) as error:
        csv_reader.read(_write(tmp_path, text), "x", each="lesion")
    assert message in str(error.value)


def test_surrounding_blanks_are_kept_where_asked(tmp_path):
    path = _write(tmp_path, 'id,Comment\n 1 ," a\n"\n2, \n')
    table = csv_reader.read(path, "x", verbatim=("comment",))
    assert table.to_dict("list") == {"id": ["1", "2"], "Comment": [" a\n", " "]}


def test_a_header_alone_is_a_table_where_no_row_is_needed(tmp_path):
    assert csv_reader.read(_write(tmp_path, "id,x\n"), "x").empty


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file; give the path of the manifest"):
        csv_reader.read(tmp_path / "none.csv", "the manifest")
    with pytest.raises(InputError, match="is a folder"):
        csv_reader.read(tmp_path, "the manifest")


def test_a_written_table_is_read_as_it_was_and_ids_are_text(tmp_path):
    table = pd.DataFrame(
        {
            "patient_id": ["NA", "007", "nan"],
            "x": [1.5, np.nan, 0.1 + 0.2],
            "good": [True, False, True],
        }
    )
    storage.write_table(tmp_path / "a.csv", table)
    pd.testing.assert_frame_equal(
        csv_reader.read_table(tmp_path / "a.csv", ("patient_id", "lesion_id")), table
    )
    with pytest.raises(InputError, match="is empty; it needs a header"):
        csv_reader.read_table(_write(tmp_path, ""), ())


def test_a_row_that_is_cut_off_is_refused_in_a_table_of_a_run_as_well(tmp_path):
    path = _write(tmp_path, "lesion_id,x,y\na,1,2\nb,1\n")
    with pytest.raises(csv_reader.TableError, match="row 3: has 2 cells, but the header has 3"):
        csv_reader.read_table(path, ("lesion_id",))


def test_of_very_many_problems_the_first_are_named(tmp_path):
    path = _write(tmp_path, "id,x\n" + "a\n" * 300)
    with pytest.raises(csv_reader.TableError) as error:
        csv_reader.read(path, "x")
    lines = str(error.value).splitlines()
    assert (lines[0], lines[-1]) == (f"{path}: 300 problems", "  and 280 more")
    assert (len(lines), len(error.value.problems)) == (22, 300)
