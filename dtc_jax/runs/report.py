"""`--mode=report`: statistics, tables, figures and one page of any tables of predictions."""

from collections.abc import Sequence

from dtc_jax import storage
from dtc_jax.experiment import report


def run(
    predictions: Sequence[storage.PathLike], out: storage.PathLike, threshold: float | None = None
) -> None:
    """Writes the report into `out`; see `experiment.report.write`."""
    report.write(predictions, out, threshold)
