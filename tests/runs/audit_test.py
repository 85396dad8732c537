"""`--mode=audit` on the shipped claims, to the screen and to a file, and on files that are none."""

import json
import pathlib

import pytest

from dtc_jax.errors import InputError
from dtc_jax.runs import audit

CLAIMS = pathlib.Path(__file__).parents[2] / "configs/claims/dtc_study.yaml"


def test_the_shipped_claims_are_audited(tmp_path, capsys):
    audit.run(CLAIMS, tmp_path)
    text = capsys.readouterr().out
    assert "TP 208, FN 63, TN 277, FP 67 (n = 615), the only one that fits\n" in text
    assert (
        "TP 60, FN 23, TN 25, FP 15 (n = 123), the only one that fits all figures except npv\n"
        in text
    )
    assert "npv .721 does not fit the other figures, which give 0.521." in text
    assert "P .06 does not agree" in text
    written = json.loads((tmp_path / "audit.json").read_text())
    assert len(written["findings"]) == 2


def test_claims_that_agree_are_said_to(tmp_path, capsys):
    path = tmp_path / "claims.yaml"
    path.write_text("sums:\n  - {name: lesions, total: 123, parts: [40, 83]}\n")
    audit.run(path)
    text = capsys.readouterr().out
    assert text == "lesions: 40 + 83, printed 123\nNo printed figure contradicts another.\n"


def test_trailing_zeros_count(tmp_path, capsys):
    """.80 can be 5 of 6 rounded to .8 no more: YAML's own numbers would lose the zero."""
    path = tmp_path / "claims.yaml"
    for text, said in ((".8", "TP 5, FN 1"), (".80", "no confusion matrix fits")):
        path.write_text(
            f"tables:\n  - {{name: t, positives: 6, negatives: 1, sensitivity: {text}}}\n"
        )
        audit.run(path)
        assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"tables: [", "is not valid YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"", "must be a mapping"),
        (b"sums: []\ntables: []\nsums: []\n", "the key 'sums' occurs twice .* line 3"),
        (b"sums:\n  - {name: a, total: 1, parts: [1], total: 2}\n", "the key 'total' occurs twice"),
        (b"tables: " + b"[" * 3000, "is nested too deeply"),
    ],
)
def test_files_that_are_no_claims_are_named(tmp_path, content, message):
    path = tmp_path / "claims.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        audit.run(path)
    assert "claims.yaml" in str(error.value)
