"""The CSV of a review, read by the page."""

import pytest

from dtc_jax.report.review import read_decisions, read_labels
from tests.downloads import download

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
HEAD = "lesion_id;verdict;comment;reviewer;refractory_probability\r\n"
REST = "1;;;;0,1\r\n4;;;;\r\n5.0;;;;"  # nothing is decided; the last line has no end
GOOD = HEAD + '2;accept;"semi; colon";Dr. Übel;0,2\r\n3;Reject;;Dr. Übel;0,3\r\n' + REST


def show(page, path, text: str | bytes, message: str):
    """Gives a CSV to the page, which answers with the message."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    page.locator("#file").set_input_files(path)
    expect(page.locator("#message")).to_contain_text(message)


def test_a_review_goes_on_from_its_csv(visit, address, tmp_path):
    page = visit(address)
    show(page, tmp_path / "edited.csv", "\ufeff" + GOOD, "2 of 5 lesions reviewed")
    page.get_by_label("Reviewer").fill("Second")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    path = download(page)
    table = read_decisions(path, range(1, 6))
    assert table.verdict.tolist() == ["reject", "accept", "reject", "", ""]
    assert table.comment[1] == "semi; colon"
    assert table.reviewer.tolist() == ["Second", "Dr. Übel", "Dr. Übel", "", ""]
    assert "label" not in path.read_text(encoding="utf-8-sig")


def test_a_csv_that_the_page_refuses_changes_nothing(visit, address, tmp_path):
    page = visit(address)
    show(page, tmp_path / "good.csv", GOOD, "2 of 5 lesions reviewed")
    bare = HEAD.replace("reviewer", "Verdict")
    for text, message in (
        (HEAD + "9;accept;;;\n", "row 2: there is no lesion “9” on this page"),
        (HEAD + "0x1;accept;;;\n", "row 2: there is no lesion “0x1” on this page"),
        (HEAD + "2;accept;;;\n2;reject;;;\n", "row 3: lesion 2 is listed twice"),
        (HEAD + "2;maybe;;;\n", "“maybe” is not a verdict"),
        (HEAD + "2;accept;;;0,9\n", "another scan"),
        ("lesion_id;verdict\n2;accept\n", "column comment is missing"),
        (GOOD.encode("cp1252"), "not UTF-8"),
        (GOOD.replace("semi", "\0"), "not UTF-8"),
        ("\n", "it is empty"),
        (HEAD + "2;accept;;;\n3;reject;;;\n", "no row for lesions 1, 4, 5. A review needs a row"),
        (
            GOOD[:-3],
            "row 6: has 2 cells, but the header has 5; check for a missing",
        ),
        (GOOD.replace(";0,2", ";;0,2"), "row 2: has 6 cells, but the header has 5"),
        (bare + "1;;;;\n", "column verdict appears twice, in whatever case; delete one"),
    ):
        show(page, tmp_path / "edited.csv", text, message)
        expect(page.locator("#progress")).to_have_text("2 of 5 reviewed")


@pytest.mark.parametrize(
    ("first", "mark"),
    [
        ("", "|"),
        ("sep={}\r\n", "|"),
        ("sep={}\n", "\t"),
        ('"SEP={}"\n\n', "^"),
        ("sep={}\r\n", ";"),
    ],
)
def test_the_page_takes_the_delimiters_that_python_takes(visit, address, tmp_path, first, mark):
    text = first.format(mark) + GOOD.replace("semi; colon", "a, b").replace(";", mark)
    page = visit(address)
    show(page, tmp_path / "edited.csv", text, "2 of 5 lesions reviewed")
    page.locator("#lesions [data-lesion='2']").click()
    expect(page.get_by_label("Comment")).to_have_value("a, b")
    table = read_decisions(tmp_path / "edited.csv", range(1, 6))
    assert table.verdict.tolist() == ["", "accept", "reject", "", ""]


def test_the_labels_of_a_csv_stay_in_it(visit, address, tmp_path):
    rows = zip(("Label", "avid", "1", "", "0", "refractory"), GOOD.split("\r\n"), strict=True)
    text = "\r\n".join(f"{label};{row}" for label, row in rows)
    page = visit(address)
    show(page, tmp_path / "labelled.csv", text, "2 of 5 lesions reviewed")
    page.get_by_label("Reviewer").fill("Second")
    page.locator("#lesions [data-lesion='3']").click()
    page.keyboard.press("a")
    path = download(page)
    labels = {2: "0", 3: "1", 1: "", 4: "0", 5: "1"}
    assert read_labels(path) == labels
    assert read_decisions(path, range(1, 6)).verdict.tolist() == ["", "accept", "accept", "", ""]
