"""The notebook of the first steps: it is stored without outputs, and runs from end to end."""

import json
import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PATH = ROOT / "docs" / "first-steps.ipynb"


def test_it_is_stored_without_outputs():
    cells = json.loads(PATH.read_text())["cells"]
    assert len(cells) == 10
    for cell in cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.extras
def test_it_runs_from_end_to_end(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(PATH, as_version=4)
    here = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=here).execute()
    shown = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    kinds = [{kind for output in outputs for kind in output.get("data", ())} for outputs in shown]
    assert "text/html" in kinds[0]  # the manifest
    assert "image/png" in kinds[1]
    said = "".join(output.text for output in shown[2] if output.output_type == "stream")
    assert "AUC" in said
    assert [output.output_type for output in shown[3]] == ["display_data", "display_data"]
    assert "refractory_probability" in shown[4][-1].data["text/html"]
    assert (tmp_path / "first-steps" / "run" / "report" / "report.html").is_file()
