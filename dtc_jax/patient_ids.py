"""Ids of patients, and spellings that a person takes for one id.

A split by patient holds only if each patient has one id. Two spellings that differ by case, blanks,
an invisible character, the kind of dash or the Unicode form of a letter are therefore refused
rather than counted as two patients, and so are ids that a spreadsheet has rounded.
"""

import re
import unicodedata
from collections.abc import Hashable, Iterator

import pandas as pd

from dtc_jax.csv_reader import Problem

_ROUNDED = re.compile(r"[+-]?\d([.,]\d+)?E\+\d{2,}", re.IGNORECASE)


def key(text: str) -> str:
    """The same for all spellings of an id that look alike.

    Unicode's compatibility form (so that ｐ１ is p1) without invisible characters, blanks and case,
    and with one kind of dash, since programs make long ones of hyphens.
    """
    if text.isascii() and text.isprintable() and " " not in text:  # as nearly all are: none of it
        return text.casefold()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = (c for c in _with_hyphens(folded) if unicodedata.category(c)[0] not in "CZ")
    return "".join(kept) or text


def _with_hyphens(text: str) -> str:
    """With a hyphen for every dash."""
    dashes = (c == "\N{MINUS SIGN}" or unicodedata.category(c) == "Pd" for c in text)
    return "".join("-" if is_dash else c for c, is_dash in zip(text, dashes, strict=True))


def problems(ids: pd.Series, persons: pd.Series | None = None) -> Iterator[Problem]:
    """Ids of different patients that look alike, and ids that a spreadsheet has rounded.

    Args:
      ids: text, '' for none; named by its column, and its index is the row in the file.
      persons: to whom each id belongs; by default each spelling is a patient of its own.
    """
    column = str(ids.name)
    table = pd.DataFrame({"id": ids, "person": ids if persons is None else persons})
    first: dict[str, tuple[Hashable, str, str]] = {}
    for row, text, person in table[table.id != ""].drop_duplicates().itertuples(name=None):
        if _ROUNDED.fullmatch(text):
            yield Problem(
                row,
                column,
                f"{text!r} is what a spreadsheet makes of a long number, so several patients may "
                "have it; restore the ids and format their column as text.",
            )
            continue
        before, spelled, owner = first.setdefault(key(text), (row, text, person))
        if owner != person:
            yield Problem(
                row,
                column,
                f"{_visible(text)} looks like {_visible(spelled)} of row {before}, and differs "
                f"{_difference(text, spelled)}; give one patient one id, and two patients ids that "
                "differ visibly.",
            )


def _visible(text: str) -> str:
    """An id in quotes, with escapes for what cannot be seen or told apart."""
    return repr(text) if text.isprintable() and text.isascii() else ascii(text)


def _difference(one: str, other: str) -> str:
    if one.casefold() == other.casefold():
        return "only by upper and lower case"
    if unicodedata.normalize("NFKC", one) == unicodedata.normalize("NFKC", other):
        return "only by the Unicode form of a letter"
    if _with_hyphens(one) == _with_hyphens(other):
        return "only by the kind of dash"
    return "only by blanks or characters that cannot be seen"
