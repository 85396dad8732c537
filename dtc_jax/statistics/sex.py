"""The sex of patients, as tables of several languages spell it.

A word says it by itself. Of single letters two are read in two ways. M is male, but beside H
(hombre) it is mujer; where a table has both, neither is guessed. V is vrouw, but beside M, and
beside another spelling of female, it may be varón: then V is guessed only where a Dutch word stands
in the table, and M only where another spelling of female does.
"""

import unicodedata

import numpy as np
import pandas as pd

FEMALE, MALE, UNKNOWN = "female", "male", ""
_WORDS = {
    FEMALE: (
        *("f", "fem", "female", "woman", "girl", "w", "weiblich", "frau", "madchen", "maedchen"),
        *("femme", "feminin", "feminine", "femenino", "femenina", "mujer", "feminino", "feminina"),
        *("mulher", "femmina", "femminile", "donna", "v", "vrouw", "vrouwelijk"),
        *("k", "kvinna", "kvinde", "kvinne", "kobieta", "女", "女性"),
    ),
    MALE: (
        *("m", "male", "man", "boy", "masc", "mannlich", "maennlich", "mann", "junge"),
        *("h", "homme", "masculin", "masculine", "hombre", "masculino", "homem", "varon"),
        *("maschio", "maschile", "uomo", "mannelijk", "mand", "mezczyzna", "男", "男性"),
    ),
}
_MEANING = {word: sex for sex, words in _WORDS.items() for word in words}
_DUTCH = {"vrouw", "vrouwelijk", "mannelijk"}
_NOT_SAID = ("", "nan", "na", "n/a", "none", "null", "<na>", "unknown", "u", "?", "-")
_LISTED = 5


def read(values: np.ndarray | pd.Series) -> np.ndarray:
    """FEMALE, MALE or UNKNOWN for each value. # [N] -> [N]

    Upper and lower case, accents, blanks and a full stop at the end do not matter.
    """
    words = _plain(values)
    meaning = dict(_MEANING)
    present = set(words)
    if {"h", "m"} <= present:
        del meaning["h"], meaning["m"]
    women = {word for word in present - {"v"} if _MEANING.get(word) == FEMALE}
    if "v" in present and (women or "m" in present) and not present & _DUTCH:
        del meaning["v"]
        if not women:
            meaning.pop("m", None)
    return words.map(lambda word: meaning.get(word, UNKNOWN)).to_numpy(str)


def note(rows: pd.DataFrame) -> list[str]:
    """A sentence that counts the patients whose value is not understood; [] if there are none.

    Args:
      rows: with patient_id and, if known, sex; a patient counts once.
    """
    if "sex" not in rows:
        return []
    given = rows.assign(read=read(rows.sex), plain=_plain(rows.sex))
    patients = given.drop_duplicates("patient_id")
    lost = patients[(patients.read == UNKNOWN) & ~patients.plain.isin(_NOT_SAID)]
    if lost.empty:
        return []
    counts = lost.sex.astype(str).str.strip().value_counts()
    listed = [f"{value!r} {n}" for value, n in counts.iloc[:_LISTED].items()]
    more = f" and {len(counts) - _LISTED} more" if len(counts) > _LISTED else ""
    return [
        f"sex is not understood for {len(lost)} of {len(patients)} patients ({', '.join(listed)}"
        f"{more}): it counts as unknown, in the baseline age_sex_diameter and in the subgroups. "
        "Write F or M."
    ]


def _plain(values: np.ndarray | pd.Series) -> pd.Series:
    """In small letters without accents, blanks around it or a full stop. # [N]"""
    cells = pd.Series(np.asarray(values, dtype=object))
    words = cells.where(cells.notna(), "").astype(str)
    return words.map(_bare).astype(object)


def _bare(word: str) -> str:
    letters = unicodedata.normalize("NFKD", word.casefold())
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return bare.strip().rstrip(".").strip()
