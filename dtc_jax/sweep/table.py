"""The ablation table: figures as JSON and CSV, and for readers as Markdown, LaTeX and a page."""

import pathlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dtc_jax import storage
from dtc_jax.report import page
from dtc_jax.report.performance import non_inferiority
from dtc_jax.statistics.formatting import estimate, number, p_value

_NAME = "ablation"
_LATEX = {"\N{MINUS SIGN}": "$-$", "–": "--", "×": r"$\times$", "<": "$<$", ">": "$>$", "|": "$|$"}
_LATEX |= {sign: rf"\{sign}" for sign in "%_&#${}"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def write(folder: pathlib.Path, figures: Mapping[str, Any]) -> pathlib.Path:
    """Writes ablation.json, .csv, .md, .tex and .html into `folder`.

    Args:
      folder: of the sweep.
      figures: of `ablation.figures`.

    Returns:
      The page.
    """
    rows, notes = _rows(figures), figures["notes"]
    storage.write_json(folder / f"{_NAME}.json", figures)
    storage.write_table(folder / f"{_NAME}.csv", _numbers(figures))
    storage.write_text(folder / f"{_NAME}.md", _markdown(rows, notes))
    storage.write_text(folder / f"{_NAME}.tex", _latex(rows, notes))
    name = figures["names"][figures["figure"]]
    caption = (
        f"Test examples of the cohort {figures['cohort']}, folds pooled, with 95 % intervals "
        f"clustered by patient. Difference: {name} of the variant minus that of "
        f"{figures['base']}, on the same examples."
    )
    html = page.render(
        title=f"Ablations: {len(figures['variants'])} variants",
        summary=[],
        warnings=notes,
        headlines=[],
        sections=[page.Section("Ablations", tables=[page.Table(rows, caption, f"{_NAME}.csv")])],
    )
    path = folder / f"{_NAME}.html"
    storage.write_text(path, html)
    return path


def _rows(figures: Mapping[str, Any]) -> pd.DataFrame:
    """The table as text, a row a variant."""
    head, margin = figures["names"][figures["figure"]], figures["margin"]
    several = any(len(row["trials"]) > 1 for row in figures["variants"].values())
    table = []
    for name, row in figures["variants"].items():
        done = sum(state == "done" for state in row["trials"].values())
        estimates, cost = row.get("estimates", {}), row["cost"]
        cells = {
            "variant": name,
            "differs in": ", ".join(f"{k} = {_value(v)}" for k, v in row["fields"].items()),
            "seeds": f"{done} of {len(row['trials'])}",
        }
        for key, title in figures["names"].items():
            cells[title] = estimate(estimates.get(key))
            if several and title == head:
                cells["over seeds"] = _range(row.get("single", {}))
        is_base = name == figures["base"]
        cells |= {
            "difference": "base" if is_base else estimate(row.get("difference"), sign="+"),
            "P": "" if is_base else p_value(row.get("p")),
            "P, Holm": "" if is_base else p_value(row.get("p_holm")),
            f"worse by less than {margin:g}": non_inferiority(row.get("non_inferiority")),
            "parameters": f"{cost['parameters']:,}",
            "GFLOP": f"{cost['flops'] / 1e9:.3g}",
            "s a step": number(cost["seconds_a_step"]),
            "GiB": number(cost["peak_memory"] and cost["peak_memory"] / 2**30),
        }
        table.append(cells)
    return pd.DataFrame(table)


def _value(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(str, value))})"
    return " ".join(str(value).split())


def _range(single: Mapping[str, float | None]) -> str:
    """'0.78–0.84'."""
    values = [value for value in single.values() if value is not None]
    if len(values) < 2:
        return ""
    return f"{number(min(values))}–{number(max(values))}"


def _numbers(figures: Mapping[str, Any]) -> pd.DataFrame:
    """The table as numbers, a row a variant."""
    table = []
    for name, row in figures["variants"].items():
        values = row.get("single", {}).values()
        cells = {
            "variant": name,
            "base": name == figures["base"],
            "seeds_done": sum(state == "done" for state in row["trials"].values()),
            "seeds": len(row["trials"]),
        }
        for key in figures["names"]:
            of_key = row.get("estimates", {}).get(key, {})
            cells |= {key: of_key.get("value"), f"{key}_low": of_key.get("low")}
            cells |= {f"{key}_high": of_key.get("high"), f"{key}_n": of_key.get("n")}
        difference, test = row.get("difference", {}), row.get("non_inferiority", {})
        cells |= {
            "over_seeds_low": min(values, default=None),
            "over_seeds_high": max(values, default=None),
            "difference": difference.get("value"),
            "difference_low": difference.get("low"),
            "difference_high": difference.get("high"),
            "p": row.get("p"),
            "p_holm": row.get("p_holm"),
            "margin": figures["margin"],
            "non_inferior_p": test.get("p"),
            "non_inferior": test.get("holds"),
            **row["cost"],
        }
        table.append(cells)
    return pd.DataFrame(table)


def _markdown(rows: pd.DataFrame, notes: list[str]) -> str:
    lines = [rows.columns, ["---"] * len(rows.columns), *rows.itertuples(index=False)]
    cells = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    text = "\n".join(f"| {' | '.join(line)} |" for line in cells)
    return text + "\n\n" + "\n".join(f"- {note}" for note in notes) + "\n"


def _latex(rows: pd.DataFrame, notes: list[str]) -> str:
    """A tabular of booktabs, as wide as its text; the notes are comments."""
    lines = [" & ".join(map(_escaped, line)) + r" \\" for line in rows.itertuples(index=False)]
    head = " & ".join(map(_escaped, rows.columns)) + r" \\"
    return "\n".join(
        (
            r"% Needs \usepackage{booktabs}.",
            *(f"% {note}" for note in notes),
            rf"\begin{{tabular}}{{{'l' * len(rows.columns)}}}",
            *(r"\toprule", head, r"\midrule", *lines, r"\bottomrule"),
            "\\end{tabular}\n",
        )
    )


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)
