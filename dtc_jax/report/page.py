"""The parts of the report's page, the HTML file made of them, and the templates of both pages."""

import dataclasses
import functools
import re
from collections.abc import Sequence

import jinja2
import pandas as pd

_UNBROKEN = re.compile(r"[(\[][^()\[\]]*\d[)\]]|\d+ \+ \d+|\bn \d+")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure: the SVG of `drawing.save`, its caption, and its file name without suffix."""

    svg: str
    caption: str
    file: str
    wide: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text or numbers, its caption and CSV file; the first column names the rows."""

    rows: pd.DataFrame
    caption: str
    file: str


@dataclasses.dataclass(frozen=True)
class Section:
    """A chapter of the page.

    Attributes:
      title: unique on the page.
      text: paragraphs.
      figures: side by side if the page is wide enough.
      tables: below the figures.
      points: a list, at the end.
    """

    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    points: Sequence[str] = ()

    @property
    def anchor(self) -> str:
        """The id of the section on the page."""
        return "-".join(self.title.lower().split())

    @property
    def empty(self) -> bool:
        """Whether the section has no content."""
        return not (self.text or self.figures or self.tables or self.points)


@dataclasses.dataclass(frozen=True)
class Headline:
    """One figure in large type: its name, value, interval and accompanying sentences."""

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
    positive: str = "",
) -> str:
    """The page as HTML. It needs no other file and no network; `positive` names that class."""
    return _template().render(
        title=title,
        summary=summary,
        warnings=warnings,
        headlines=headlines,
        sections=[section for section in sections if not section.empty],
        positive=positive,
    )


def _cell(escaped: str) -> str:
    """A cell of a table; an interval and 'refractory + avid' are not broken across lines."""
    return _UNBROKEN.sub(r'<span class="whole">\g<0></span>', str(escaped))


@functools.cache
def _template() -> jinja2.Template:
    environment = templates()
    environment.filters["cell"] = _cell
    return environment.get_template("report.html")


def templates() -> jinja2.Environment:
    """The templates of the pages; printed text is escaped, and a missing variable is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("dtc_jax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
