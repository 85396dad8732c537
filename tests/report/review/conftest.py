"""A page with five lesions, and a browser to visit it with."""

import shutil

import numpy as np
import pytest

from dtc_jax.imaging.volume import Volume
from dtc_jax.report.review import About, Finding, write_page

AFFINE = np.eye(4)[[2, 1, 0, 3]]  # (z, y, x) to RAS
SHAPE = (24, 28, 20)
MARK = (4, 20, 15)  # the middle of the lesion: inferior, anterior, right
LAPTOP = {"viewport": {"width": 1366, "height": 768}}


def _finding(number: int) -> Finding:
    image = np.random.default_rng(number).normal(-800, 40, SHAPE).astype(np.int16)
    around = tuple(slice(at - 1, at + 2) for at in MARK)
    image[around] = 200
    mask = np.zeros(SHAPE, bool)
    mask[around] = True
    heat = np.where(mask, 0.5 * number, 0).astype(np.float32)
    measures = {"diameter_mm": 30.5 - number, "volume_mm3": 27.0}
    measures |= {"refractory_probability": number / 10, "decision": "avid", "threshold": 0.5}
    volumes = [Volume(array, AFFINE) for array in (image, mask, heat)]
    return Finding(number, *volumes, measures=measures)


@pytest.fixture(scope="session")
def finding():
    """A function from a number to a small lesion of that number."""
    return _finding


@pytest.fixture(scope="session")
def address(tmp_path_factory) -> str:
    """Of a page with five lesions."""
    path = tmp_path_factory.mktemp("review") / "review.html"
    write_page(path, map(_finding, range(1, 6)), About("Scan 7", 0.5, [("Segmenter", "vnet")]))
    return f"file://{path}"


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for found in map(shutil.which, names) if found), None)
    if path is None:
        pytest.skip("no Chromium or Chrome on this machine")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """A function that opens a page as a new visitor and fails the test for any error there."""
    contexts, wrong = [], []

    def visit(address: str, **screen):
        context = browser.new_context(**(screen or LAPTOP))
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: line.type == "error" and wrong.append(line.text))
        page.on("request", lambda request: request.url == address or wrong.append(request.url))
        page.goto(address)
        page.wait_for_selector("#readout:not(:empty)")  # the first lesion is drawn
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not wrong
