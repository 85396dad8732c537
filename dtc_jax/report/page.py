"""The parts of the page, and the one HTML file made of them."""

import dataclasses
import functools
import re
from collections.abc import Sequence

import jinja2
import pandas as pd

from dtc_jax.report import templating

_WHOLE = re.compile(r"[(\[][^()\[\]]*\d[)\]]|\d+ \+ \d+")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure: the SVG of `drawing.save`, its caption, and the files' name without suffix."""

    svg: str
    caption: str
    file: str
    wide: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text or numbers, its caption and its CSV file; the first column names the rows."""

    rows: pd.DataFrame
    caption: str
    file: str


@dataclasses.dataclass(frozen=True)
class Section:
    """A chapter of the page.

    Attributes:
      title: in words; unique on the page.
      text: paragraphs.
      figures: side by side where the page is wide enough.
      tables: below them.
      points: a list, last.
    """

    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    points: Sequence[str] = ()

    @property
    def anchor(self) -> str:
        """Its id on the page."""
        return "-".join(self.title.lower().split())

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.text or self.figures or self.tables or self.points)


@dataclasses.dataclass(frozen=True)
class Headline:
    """One large number: what it is, its value and interval, and what a reader must know with it."""

    name: str
    value: str
    interval: str
    sentences: Sequence[str]


def render(
    title: str,
    summary: Sequence[str],
    warnings: Sequence[str],
    headlines: Sequence[Headline],
    sections: Sequence[Section],
) -> str:
    """The page. It needs no other file and no network."""
    return _template().render(
        title=title,
        summary=summary,
        warnings=warnings,
        headlines=headlines,
        sections=[section for section in sections if not section.empty],
    )


def _cell(escaped: str) -> str:
    """A table's cell; an interval and 'refractory + avid' move to the next line as a whole."""
    return _WHOLE.sub(r'<span class="whole">\g<0></span>', str(escaped))


@functools.cache
def _template() -> jinja2.Template:
    environment = templating.environment()
    environment.filters["cell"] = _cell
    return environment.get_template("report.html")
