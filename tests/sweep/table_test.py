"""What the ablation table makes of values with signs that mean something in a format."""

from dtc_jax.sweep import table

_NONE = {"parameters": 1, "flops": 1e9, "seconds_a_step": None, "peak_memory": None}


def test_no_sign_of_a_value_breaks_the_table(tmp_path):
    odd = {"loss.graded": "up & 50% {a|b}\n#1 $^~\\"}
    rows = {"full": {}, "graded": odd}
    figures = {
        "figure": "auc",
        "names": {"auc": "AUC"},
        "base": "full",
        "margin": 0.05,
        "cohort": "primary",
        "notes": [],
        "variants": {
            name: {"fields": fields, "trials": {"0": "open"}, "cost": _NONE}
            for name, fields in rows.items()
        },
    }
    table.write(tmp_path, figures)
    lines = (tmp_path / "ablation.md").read_text().splitlines()
    bars = {line.replace(r"\|", "").count("|") for line in lines if line}
    assert len(bars) == 1  # as many cells in every row
    assert r"loss.graded = up & 50% {a\|b} #1 $^~" in lines[3]
    (row,) = (r for r in (tmp_path / "ablation.tex").read_text().splitlines() if "up " in r)
    assert r"up \& 50\% \{a$|$b\} \#1 \$\textasciicircum{}\textasciitilde{}\textback" in row
