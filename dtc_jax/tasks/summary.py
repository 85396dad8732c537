"""The test figures of a run as lines of text: the network's, and the baselines' below it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Figures = Mapping[str, Any]


def summary(
    figures: Figures,
    network: str,
    head: Callable[[Figures], str],
    line: Callable[[Figures], str],
    further: Callable[[Figures], Iterable[str]] = lambda test: (),
) -> str:
    """A block a cohort that has a test split, and the notes.

    Args:
      figures: of metrics.json.
      network: its name.
      head: what a block begins with, of the network's test figures.
      line: figures in a line.
      further: lines below a block, of the network's test figures.
    """
    lines = []
    for cohort, by_split in figures["network"].items():
        if "test" not in by_split:
            continue
        test = by_split["test"]
        lines.append(f"{cohort}, test: {head(test)}")
        rows = {network: test} | {
            name: metrics[cohort]["test"] for name, metrics in figures["baselines"].items()
        }
        lines += [f"  {name:<18}{line(row)}" for name, row in rows.items()]
        lines += [f"  {text}" for text in further(test)]
    return "\n".join(lines + [f"  {note}" for note in figures["notes"]])
