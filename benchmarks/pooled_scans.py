"""Figures of whole scans that several runs have evaluated, each run the scans that it has not seen.

    python -m benchmarks.pooled_scans RUN RUN …

Each RUN was evaluated with --mode=evaluate --scans. The lesion threshold of a scan is chosen on the
others: the lowest that leaves them four false findings a scan.
"""

import pathlib
import sys

import pandas as pd

from dtc_jax.evaluation import whole_scans
from dtc_jax.statistics import detection

_TABLES = ("scans", "lesions", "candidates")
_PER_SCAN = 4.0


def main(runs: list[pathlib.Path]) -> None:
    """Prints the figures of all scans together, and what the thresholds keep of each."""
    tables = whole_scans.without_cubes({name: _pooled(runs, name) for name in _TABLES})
    counts = tables["scans"].groupby("patient_id").run.nunique()
    if (counts > 1).any():
        sys.exit(f"evaluated by several runs: {', '.join(counts.index[counts > 1])}.")
    tables = {name: _with_threshold(table, tables) for name, table in tables.items()}
    print(whole_scans.summary(whole_scans.figures_of(tables)))
    for patient, lesions in tables["lesions"].groupby("patient_id"):
        found = tables["candidates"][tables["candidates"].patient_id == patient]
        false = found[found.is_false]
        threshold = lesions.threshold.iloc[0]
        print(f"  {patient}: {len(false)} false findings, {lesions.is_found.sum()} lesions found;")
        print(
            f"    from {threshold} on {(false.score >= threshold).sum()} and "
            f"{(lesions.score >= threshold).sum()}; before each lesion: "
            + ", ".join(_before(row, false.score) for row in lesions.itertuples())
        )


def _pooled(runs: list[pathlib.Path], name: str) -> pd.DataFrame:
    parts = []
    for run in runs:
        path = run / "scans" / f"{name}.csv"
        if not path.is_file():
            sys.exit(
                f"{path}: no such file; evaluate {run} with --mode=evaluate --scans=CSV first."
            )
        part = pd.read_csv(path).assign(run=run.name)
        parts.append(part.assign(scan_id=run.name + "/" + part.scan_id))
    return pd.concat(parts, ignore_index=True)


def _with_threshold(table: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """`table` with the threshold of each patient, chosen on the scans of the others."""
    thresholds = {}
    for patient in tables["scans"].patient_id.unique():
        others = tables["candidates"][tables["candidates"].patient_id != patient]
        scans = (tables["scans"].patient_id != patient).sum()
        false = others.score[others.is_false].to_numpy(float)
        allowed = _PER_SCAN * scans
        thresholds[patient] = detection.threshold_for(false, others.score.to_numpy(float), allowed)
    return table.assign(threshold=table.patient_id.map(thresholds))


def _before(lesion, false: pd.Series) -> str:
    """How many false findings have a higher score, and the lesion's Dice."""
    if not lesion.is_found:
        return "missed"
    dice = "" if pd.isna(lesion.dice) else f" (Dice {lesion.dice:.3f})"
    return f"{(false > lesion.score).sum()}{dice}"


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(list(map(pathlib.Path, sys.argv[1:])))
