"""A table that survives the end of the machine, and the time that is left."""

import csv
import dataclasses
import io
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

COLUMNS = (
    "stage",
    "case",
    "peer",
    "dtype",
    "batch",
    "ms",
    "rate",
    "unit",
    "x_torch",
    "tflops",
    "ceiling_share",
    "peak_gib",
    "compile_s",
    "note",
)


class Table:
    """Rows on the standard output and in a file, each written out before the next is measured."""

    def __init__(self, path: pathlib.Path | None) -> None:
        """Args: path: gets the rows, as Markdown if it ends so, else as CSV; None for no file."""
        self._path = path
        self._markdown = path is not None and path.suffix == ".md"
        self.said: list[str] = []
        self._print(_line(COLUMNS))
        self._print(_line(["---"] * len(COLUMNS)))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        if self._markdown:
            self._append(f"\n{_line(COLUMNS)}\n{_line(['---'] * len(COLUMNS))}\n")
        else:
            self._append(_comma(COLUMNS))

    def add(self, stage: str, **values: object) -> None:
        """Appends a row; a column without a value stays empty."""
        cells = [stage, *(_cell(values.pop(name, None)) for name in COLUMNS[1:])]
        assert not values, f"no such columns: {sorted(values)}"
        self._print(_line(cells))
        self._append(f"{_line(cells)}\n" if self._markdown else _comma(cells))

    def say(self, text: str) -> None:
        """A line between the rows."""
        text = " ".join(text.split())  # a second line would be taken for a row
        self._print(text)
        self.said.append(text)
        self._append(f"\n{text}\n\n" if self._markdown else f"# {text}\n")

    def _print(self, text: str) -> None:
        print(text, flush=True)

    def _append(self, text: str) -> None:
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(text)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value).replace("|", "/").replace("\n", " ")
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _comma(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


@dataclasses.dataclass
class Budget:
    """Seconds for everything, and until when the present stage may begin further rows.

    Attributes:
      table: is told which rows were left out.
      end: of the whole run, by `time.monotonic`.
      until: of the present stage.
      last_chance: whether a row that does not fit now is left out for good.
    """

    table: Table
    end: float
    until: float
    last_chance: bool = False
    done: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    _took: dict[str, float] = dataclasses.field(default_factory=dict)

    def left(self) -> float:
        """Seconds until the end of the stage."""
        return self.until - time.monotonic()

    def rows(self, stage: str, cases: Iterable[T], name: Callable[[T], str]) -> Iterator[T]:
        """The cases for which there is time and that were not measured yet.

        A case is estimated to take as long as the one before it in its stage.
        """
        for case in cases:
            label = name(case)
            if (stage, label) in self.done:
                continue
            needed = self._took.get(stage, 0.0)
            if self.left() <= needed:
                if self.last_chance:
                    note = f"left out: {max(0, self.left()):.0f} s left, about {needed:.0f} needed"
                    self.table.add(stage, case=label, note=note)
                continue
            start = time.monotonic()
            self.done.add((stage, label))
            yield case
            self._took[stage] = time.monotonic() - start
