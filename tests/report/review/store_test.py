"""What a browser keeps of a review, in one tab and in several."""

import pytest

from dtc_jax.report.review import read_decisions
from tests.downloads import download

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


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


def second_tab(page, address):
    other = page.context.new_page()
    other.goto(address)
    other.wait_for_selector("#readout:not(:empty)")
    return other


def test_two_tabs_of_a_page_have_the_decisions_of_both(visit, address):
    one = visit(address)
    other = second_tab(one, address)
    one.get_by_label("Reviewer").fill("Ann")
    expect(other.get_by_label("Reviewer")).to_have_value("Ann")
    one.locator("[data-verdict=reject]").click()
    expect(other.locator("#lesions [data-lesion='1'] .sign")).to_contain_text("rejected")
    expect(other.locator("#progress")).to_have_text("1 of 5 reviewed")
    other.get_by_label("Comment").fill("a vessel")  # of the same lesion
    expect(one.get_by_label("Comment")).to_have_value("a vessel")
    other.locator("#lesions [data-lesion='2']").click()
    other.locator("[data-verdict=accept]").click()
    one.get_by_label("Sort by").select_option("long axis")
    expect(one.locator("#progress")).to_have_text("2 of 5 reviewed")
    expect(other.locator("#download")).to_have_class("primary unsaved")
    for page in (one, other):
        table = read_decisions(download(page), range(1, 6))
        assert table.verdict.tolist() == ["reject", "accept", "", "", ""]
        assert table.comment[0] == "a vessel"
        assert table.reviewer.tolist() == ["Ann", "Ann", "", "", ""]
    expect(one.locator("#download")).to_have_class("primary")
    third = second_tab(one, address)
    expect(third.locator("#progress")).to_have_text("2 of 5 reviewed")
    expect(third.get_by_label("Sort by")).to_have_value("diameter")


def test_a_tab_that_was_told_of_nothing_erases_nothing(visit, address, tmp_path):
    one = visit(address)
    deaf = one.context.new_page()
    deaf.add_init_script("addEventListener('storage', (e) => e.stopImmediatePropagation(), true)")
    deaf.goto(address)
    deaf.wait_for_selector("#readout:not(:empty)")
    one.get_by_label("Reviewer").fill("Ann")
    one.locator("[data-verdict=reject]").click()
    expect(deaf.locator("#progress")).to_have_text("0 of 5 reviewed")
    deaf.get_by_label("Sort by").select_option("long axis")
    deaf.locator("#lesions [data-lesion='2']").click()
    deaf.locator("[data-verdict=accept]").click()
    expect(one.locator("#progress")).to_have_text("2 of 5 reviewed")
    one.locator("#lesions [data-lesion='3']").click()
    one.locator("[data-verdict=accept]").click()
    table = read_decisions(download(deaf), range(1, 6))
    assert table.verdict.tolist() == ["reject", "accept", "accept", "", ""]
    path = tmp_path / "edited.csv"
    rows = "".join(f"{number},,,\n" for number in range(1, 6))
    path.write_text(f"lesion_id,verdict,comment,reviewer\n{rows}")
    one.locator("#file").set_input_files(path)
    expect(one.locator("#message")).to_contain_text("0 of 5 lesions reviewed")
    deaf.locator("[data-verdict=reject]").click()  # a decision on lesion 2 alone
    expect(one.locator("#progress")).to_have_text("1 of 5 reviewed")
    table = read_decisions(download(one), range(1, 6))
    assert table.verdict.tolist() == ["", "reject", "", "", ""]


def test_control_characters_are_not_kept(visit, address):
    page = visit(address)
    page.get_by_label("Reviewer").fill("Dr.\0 Übel\x1b")
    page.get_by_label("Comment").fill("a\0 ves\x0bsel\x7f\x9f,\n\tof 7 µm 🫁")
    page.locator("#name").click()
    table = read_decisions(download(page), range(1, 6))
    assert table.comment[0] == "a vessel,\n\tof 7 µm 🫁"
    assert table.reviewer[0] == "Dr. Übel"
