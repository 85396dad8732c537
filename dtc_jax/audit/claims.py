"""The claims of a paper: its printed figures as a YAML mapping, read, checked and recomputed.

All numbers are text, since ".800" is more precise than 0.8:

    title
    sums:         [{name, total, parts: [...]}]
    tables:       [{name, positives, negatives | at_most, patients, accuracy, sensitivity,
                  specificity, ppv, npv, f1, auc}]: a figure is text or {value, low, high} with its
                  95 % interval; `at_most` lesions where their number is not printed
    means:        [{name, groups: [{mean, sd, n}, {mean, sd, n}], p}]
    counts:       [{name, rows: [[...], [...]], p}]
    comparisons:  [{name, first, second, p}]: AUCs of two `tables` of different patients, by name
"""

import pathlib
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from dtc_jax.audit import confusion_search, p_values, printed, rate_tables
from dtc_jax.errors import InputError, one_line, unknown_choice

_REQUIRED = {
    "sums": ("name", "total", "parts"),
    "tables": ("name",),
    "means": ("name", "groups"),
    "counts": ("name", "rows"),
    "comparisons": ("name", "first", "second"),
}
_OPTIONAL = {
    "sums": (),
    "tables": ("positives", "negatives", "at_most", "patients", "auc", *confusion_search.RATES),
    "means": ("p",),
    "counts": ("p",),
    "comparisons": ("p",),
}
_TEXTS = ("name", "first", "second")
_LISTS = ("parts", "groups", "rows")


class _Loader(yaml.BaseLoader):
    """Keeps every number as printed, since .800 is more precise than .8, and loses no entry."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuses a key that occurs twice; YAML would keep the last one."""
        seen = set[Hashable]()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} occurs twice", key_node.start_mark
                )
            if isinstance(key, Hashable):  # or PyYAML itself refuses it
                seen.add(key)
        return super().construct_mapping(node, deep)


def read(path: pathlib.Path) -> Any:
    """Reads the YAML file; every number stays text.

    Raises:
      InputError: the file is missing, cannot be read or is not YAML, or a key occurs twice in one
        of its mappings.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError as error:
        raise InputError("no such file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("cannot be read; give the path of a YAML file in UTF-8.") from error
    except yaml.YAMLError as error:
        raise InputError(f"is not valid YAML ({one_line(error)}).") from error
    except RecursionError as error:
        raise InputError("is nested too deeply; see configs/claims/dtc_study.yaml.") from error


def recompute(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Recomputes all figures that the claims determine.

    Args:
      claims: see the module's docstring.

    Returns:
      JSON values: title, findings (sentences on what does not agree), and for each list of the
      claims the recomputed figures.

    Raises:
      InputError: names the claim that has a wrong or missing field, or the name of another one.
    """
    _check(claims)
    tables = {claim["name"]: rate_tables.table(claim) for claim in claims.get("tables", [])}
    result: dict[str, Any] = {
        "title": str(claims.get("title", "")),
        "sums": [_sum(claim) for claim in claims.get("sums", [])],
        "tables": list(tables.values()),
        "means": [p_values.of_means(claim) for claim in claims.get("means", [])],
        "counts": [p_values.of_counts(claim) for claim in claims.get("counts", [])],
        "comparisons": [p_values.of_aucs(claim, tables) for claim in claims.get("comparisons", [])],
    }
    findings = [
        f"{entry['name']}: {text}"
        for kind in _REQUIRED
        for entry in result[kind]
        for text in entry.pop("findings")
    ]
    return {"title": result.pop("title"), "findings": findings, **result}


def _check(claims: Any) -> None:
    """Checks the kinds and fields of the claims."""
    if not isinstance(claims, Mapping):
        raise InputError(f"the claims must be a mapping with the lists {', '.join(_REQUIRED)}.")
    for kind, entries in claims.items():
        if kind == "title":
            continue
        if kind not in _REQUIRED:
            raise unknown_choice("the kind of a claim", kind, ["title", *_REQUIRED])
        if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
            raise InputError(f"{kind} must be a list of mappings.")
        named = set[str]()
        for i, claim in enumerate(entries):
            missing = [field for field in _REQUIRED[kind] if field not in claim]
            if missing:
                raise InputError(f"{kind}[{i}] needs {', '.join(missing)}.")
            for fields, kind_of_field, type_ in ((_TEXTS, "text", str), (_LISTS, "a list", list)):
                for field in fields:
                    if not isinstance(claim.get(field, type_()), type_):
                        raise InputError(f"{kind}[{i}].{field} must be {kind_of_field}.")
            if claim["name"] in named:
                raise InputError(
                    f"{kind}[{i}] has the name {claim['name']!r} of another one; rename one."
                )
            named.add(claim["name"])
            allowed = [*_REQUIRED[kind], *_OPTIONAL[kind]]
            for field in claim:
                if field not in allowed:
                    raise unknown_choice(f"{claim['name']}: a field", field, allowed)


def _sum(claim: Mapping[str, Any]) -> dict[str, Any]:
    total = printed.whole_number(claim, "total")
    parts = [
        printed.whole_number({"part": part, "name": claim["name"]}, "part")
        for part in claim["parts"]
    ]
    findings = [] if sum(parts) == total else [f"the parts sum to {sum(parts)}, not {total}."]
    return {"name": claim["name"], "total": total, "parts": parts, "findings": findings}
