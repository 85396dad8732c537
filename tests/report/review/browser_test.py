"""A review in a browser, by mouse and by keys, and its CSV back in this project."""

import csv
import dataclasses
import io

import numpy as np
import pytest

from dtc_jax.imaging.volume import Volume
from dtc_jax.report.review import About, make_overview, read_decisions, write_page
from tests.downloads import download

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


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


def numbers(page) -> str:
    return "".join(page.locator("#lesions .number").all_inner_texts())


def test_the_list_is_sorted(visit, address):
    page = visit(address)
    assert numbers(page) == "12345"
    page.get_by_label("Sort by").select_option("probability of refractory")
    assert numbers(page) == "54321"
    page.get_by_label("Sort by").select_option("long axis")
    assert numbers(page) == "12345"
    page.keyboard.press("Tab")
    page.locator("#name").click()
    page.keyboard.press("a")
    page.get_by_label("Sort by").select_option("not yet reviewed")
    assert numbers(page) == "23451"
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    assert numbers(page) == "23451"  # as it was left


CANDIDATES = (0.9, 0.2, 0.6, None, 0.1)  # probability of a lesion, of numbers 1 to 5
SIZES = (5.0, 40.0, 9.0, 3.0, 50.0)


@pytest.fixture(scope="module")
def chest(finding, tmp_path_factory):
    """A page with an overview, and two findings that are probably no lesions."""
    path = tmp_path_factory.mktemp("chest") / "review.html"
    given = []
    for number, (certainty, size) in enumerate(zip(CANDIDATES, SIZES, strict=True), start=1):
        one = finding(number)
        center = {"center_x_mm": 20.0 * number, "center_y_mm": 30.0, "center_z_mm": 60.0}
        unsure = None if certainty is None else certainty >= 0.5
        further = {"lesion_probability": certainty, "is_lesion": unsure, "mean_probability": 0.8}
        measures = {**one.measures, **center, **further, "diameter_mm": size}
        given.append(dataclasses.replace(one, measures=measures))
    hu = np.full((40, 20, 40), -800, np.int16)
    spacing = np.diag([3.0, 3.0, 3.0, 1.0])[[2, 1, 0, 3]]  # (z, y, x) to RAS
    lungs = np.pad(np.ones((36, 16, 36), np.uint8), 2)
    overview = make_overview(Volume(hu, spacing), Volume(lungs, spacing))
    write_page(path, given, About("Chest", 0.5, [], overview=overview))
    return f"file://{path}"


def test_the_most_certain_and_largest_come_first_and_the_unlikely_are_folded(visit, chest):
    page = visit(chest)
    assert numbers(page) == "314"  # 9 × .6, 5 × .9, 3 × .8 of the segmenter
    expect(page.locator("#name")).to_have_text("Lesion 3")
    expect(page.locator("#progress")).to_have_text("0 of 3 reviewed")
    expect(page.locator("#fold")).to_have_text("2 findings below the threshold")
    page.locator("#fold").click()
    assert numbers(page) == "31425"  # 40 × .2, 50 × .1
    page.locator("#lesions [data-lesion='2']").click()
    expect(page.locator("#answer .decision")).to_contain_text("Probably no lesion")
    page.keyboard.press("a")
    expect(page.locator("#progress")).to_have_text("1 of 5 reviewed")
    page.get_by_label("Sort by").select_option("probability of a lesion")
    assert numbers(page) == "13425"
    page.locator("#fold").click()
    assert numbers(page) == "134"
    expect(page.locator("#name")).to_have_text("Lesion 1")
    page.get_by_label("Reviewer").fill("Ann")
    page.locator("#name").click()
    table = read_decisions(download(page), range(1, 6))  # the folded ones are in it
    assert table.verdict.tolist() == ["", "accept", "", "", ""]


def test_a_click_on_a_mark_of_the_overview_goes_to_its_lesion(visit, chest):
    page = visit(chest)
    page.keyboard.press("4")
    canvas = page.locator("#overview canvas")
    width, height = (canvas.evaluate(f"c => c.client{side}") for side in ("Width", "Height"))
    # The box of the lungs with its margin is the whole scan: 120 × 120 mm, and 60 axially.
    scale = min(width / 120, (height - 8) / 180)
    beside = min((width - 8) / 240, height / 120)
    assert scale > beside  # the pictures are below each other
    left, top = (width - 120 * scale) / 2, (height - 180 * scale - 8) / 2
    for number in (4, 1):
        x = left + (120 - 20 * number - 1.5) * scale  # right is on the left
        y = top + (120 - 60 - 1.5) * scale
        canvas.click(position={"x": x + 2, "y": y})
        expect(page.locator("#name")).to_have_text(f"Lesion {number}")
        expect(page.locator("#views")).to_have_attribute("data-main", "axial")
        page.keyboard.press("4")
    canvas.click(position={"x": 5, "y": 5})  # no mark is near
    expect(page.locator("#name")).to_have_text("Lesion 1")
