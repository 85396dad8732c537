"""An answer, and its review."""

import shutil

import pytest


@pytest.fixture
def folder(answered, tmp_path):
    """An answer of its own."""
    return shutil.copytree(answered, tmp_path / "out")


@pytest.fixture
def review(call, folder, tmp_path):
    """Writes the CSV of a review and reads it back; returns the exit code."""

    def review(rows, *arguments, head="lesion_id,verdict,comment,reviewer"):
        path = tmp_path / "review.csv"
        path.write_text("\n".join([head, *rows]), "utf-8")
        return call("--mode=predict", f"--out={folder}", f"--review={path}", *arguments)

    return review
