"""The page in a browser: it fits a phone, answers to the pointer and prints."""

import json
import re
import shutil
import subprocess

import pytest

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--allow-file-access-from-files", "--virtual-time-budget=3000"),
)
# A window is 500 px wide at least, so the page is looked at in a frame of a phone's width.
PROBE = """<iframe id="page" src="report.html" style="width:390px;height:800px"></iframe>
<pre id="found"></pre>
<script>
document.getElementById("page").onload = (event) => {
  const page = event.target.contentDocument, view = event.target.contentWindow;
  const part = page.querySelector("#discrimination [data-tip]");
  const shown = part.querySelector("path, use");
  const send = (target, type) => target.dispatchEvent(
    new view.PointerEvent(type, {bubbles: true, clientX: 100, clientY: 300}));
  const box = page.getElementById("tip");
  send(shown, "pointermove");
  const said = box.textContent, hidden = box.hidden;
  send(page.querySelector("h1"), "pointermove");
  document.getElementById("found").textContent = JSON.stringify({
    width: page.documentElement.scrollWidth, tip: part.dataset.tip, said: said, hidden: hidden,
    after: box.hidden, titles: page.querySelectorAll("svg .tip > title").length,
    figures: [...page.querySelectorAll("main svg")].map((f) => f.getBoundingClientRect().width),
  });
};
</script>"""


def run(*arguments: str, profile) -> str:
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def found(report, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("browser")
    shutil.copy(report / "report.html", folder)
    (folder / "probe.html").write_text(PROBE)
    page = run("--dump-dom", f"file://{folder}/probe.html", profile=folder / "profile")
    return json.loads(re.search(r'<pre id="found">(.*?)</pre>', page, re.DOTALL)[1])


@pytest.mark.extras
def test_nothing_sticks_out_of_a_phone_and_figures_use_its_width(found):
    assert found["width"] <= 390
    assert min(found["figures"]) > 300


def test_the_pointer_is_answered_by_a_box_and_only_over_a_value(found):
    assert found["tip"]
    assert found["said"] == found["tip"]
    assert not found["hidden"]
    assert found["after"]
    assert found["titles"] == 0  # or the browser would show a second box


def test_it_prints(report, tmp_path):
    pdf = tmp_path / "report.pdf"
    run(f"--print-to-pdf={pdf}", f"file://{report}/report.html", profile=tmp_path / "profile")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert pdf.read_bytes().count(b"/Type /Page\n") > 3
