"""A review in a browser, by mouse and by keys, and its CSV back in this project."""

import csv
import io

import pytest

from dtc_jax.report.review import About, read_decisions, write_page

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


def download(page, press="d"):
    with page.expect_download() as got:
        page.keyboard.press(press)
    return got.value.path()


def test_a_review_by_mouse_comes_back(visit, address):
    page = visit(address)
    expect(page.locator("#progress")).to_have_text("0 of 5 reviewed")
    page.locator("#lesions button", has_text="0.30").click()
    expect(page.locator("#name")).to_have_text("Lesion 3")
    page.get_by_role("button", name="Reject").click()
    page.get_by_label("Comment").fill("a vessel")
    page.locator("#next").click()
    page.get_by_role("button", name="Accept").click()
    expect(page.locator("#progress")).to_have_text("2 of 5 reviewed")
    expect(page.locator("#lesions [data-lesion='3'] .sign")).to_contain_text("rejected")
    page.locator("#download").click()  # without a name
    expect(page.locator("#message")).to_contain_text("Enter your name")
    expect(page.get_by_label("Reviewer")).to_be_focused()
    page.keyboard.type("Dr. Übel")
    with page.expect_download() as got:
        page.locator("#download").click()
    assert got.value.suggested_filename == "review_Scan-7.csv"
    table = read_decisions(got.value.path(), range(1, 6))
    assert table.verdict.tolist() == ["", "", "reject", "accept", ""]
    assert table.comment.tolist() == ["", "", "a vessel", "", ""]
    assert table.reviewer.tolist() == ["", "", "Dr. Übel", "Dr. Übel", ""]
    lines = csv.DictReader(io.StringIO(got.value.path().read_text(encoding="utf-8-sig")))
    assert {line["notice"] for line in lines} == {"For research use only"}


def test_a_review_by_keys_alone_comes_back(visit, address):
    page = visit(address)
    press = page.keyboard.press
    press("r")
    press("c")
    page.keyboard.type("none; r a d")  # letters in a comment are no commands
    press("Escape")
    press("n")
    press("a")
    press("n")
    press("a")
    press("u")
    press("n")
    press("p")
    expect(page.locator("#name")).to_have_text("Lesion 3")
    press("d")
    page.keyboard.type("M. Key")
    press("Escape")
    table = read_decisions(download(page), range(1, 6))
    assert table.verdict.tolist() == ["reject", "accept", "", "", ""]
    assert table.comment[0] == "none; r a d"


COMMENTS = [
    "=HYPERLINK(\"x\";\"y\")",
    "+1", "-2", "@me", "  =3", "'=4", "''+5", "'quoted'", "it's -6",
    "one, two; -three\n=four\t@five\"+six\"",
    "Größe 7 µm, 🫁 \"größer\"", "\n\n", " ", "a;'-b", "＝7",
]  # fmt: skip


def test_no_comment_is_lost_and_none_is_a_formula(visit, finding, tmp_path):
    number = len(COMMENTS)
    many = map(finding, range(1, number + 1))
    write_page(tmp_path / "many.html", many, About("-Scan", 0.5, []))
    page = visit(f"file://{tmp_path}/many.html")
    page.get_by_label("Reviewer").fill("@lice")
    for comment in COMMENTS:
        page.get_by_label("Comment").fill(comment)
        page.locator("#next").click(force=True)
    page.locator("#name").click()
    path = download(page)
    table = read_decisions(path, range(1, number + 1))
    assert table.comment.tolist() == COMMENTS
    assert set(table.reviewer) == {"@lice"}
    text = path.read_text(encoding="utf-8-sig")
    for mark in ",;\t":  # whatever a spreadsheet takes for the end of a cell
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark):
            assert not [cell for cell in row if cell.lstrip()[:1] in tuple("=+-@＝")]
    again = visit(f"file://{tmp_path}/many.html")  # the page reads its own file
    again.locator("#file").set_input_files(path)
    expect(again.locator("#message")).to_contain_text("Read ")
    for comment in COMMENTS:
        expect(again.get_by_label("Comment")).to_have_value(comment)
        again.locator("#next").click(force=True)


def test_a_review_goes_on_from_its_csv_and_a_wrong_one_is_refused(visit, address, tmp_path):
    page = visit(address)
    head = "lesion_id;verdict;comment;reviewer;refractory_probability\r\n"
    good = head + '2;accept;"semi; colon";Dr. Übel;0,2\r\n3;Reject;;Dr. Übel;0,3\r\n'
    for text, message in (
        (head + "9;accept;;;\n", "row 2: there is no lesion “9” on this page"),
        (head + "2;accept;;;\n2;reject;;;\n", "row 3: lesion 2 is listed twice"),
        (head + "2;maybe;;;\n", "“maybe” is not a verdict"),
        (head + "2;accept;;;0,9\n", "another scan"),
        ("lesion_id;verdict\n2;accept\n", "column comment is missing"),
        (good.encode("cp1252"), "not UTF-8"),
        ("\ufeff" + good, "2 of 5 lesions reviewed"),
    ):
        path = tmp_path / "edited.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        page.locator("#file").set_input_files(path)
        expect(page.locator("#message")).to_contain_text(message)
    page.get_by_label("Reviewer").fill("Second")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    table = read_decisions(download(page), range(1, 6))
    assert table.verdict.tolist() == ["reject", "accept", "reject", "", ""]
    assert table.comment[1] == "semi; colon"
    assert table.reviewer.tolist() == ["Second", "Dr. Übel", "Dr. Übel", "", ""]


def test_nothing_is_lost_by_leaving(visit, address):
    page = visit(address)
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.get_by_label("Reviewer").fill("Dr. Übel")
    page.get_by_role("button", name="Reject").click()
    page.reload()
    assert asked == ["beforeunload"]
    expect(page.locator("#progress")).to_have_text("1 of 5 reviewed")
    expect(page.get_by_label("Reviewer")).to_have_value("Dr. Übel")
    page.locator("#name").click()
    download(page)
    page.reload()
    assert asked == ["beforeunload"]  # all is downloaded


def test_the_list_is_sorted(visit, address):
    page = visit(address)
    numbers = lambda: "".join(page.locator("#lesions .number").all_inner_texts())  # noqa: E731
    assert numbers() == "12345"
    page.get_by_label("Sort by").select_option("probability")
    assert numbers() == "54321"
    page.get_by_label("Sort by").select_option("size")
    assert numbers() == "12345"
    page.keyboard.press("Tab")
    page.locator("#name").click()
    page.keyboard.press("a")
    page.get_by_label("Sort by").select_option("not yet reviewed")
    assert numbers() == "23451"
