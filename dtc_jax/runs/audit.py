"""`--mode=audit`: do the figures that a paper prints agree with each other?"""

import pathlib
from typing import Any

import yaml

from dtc_jax import storage
from dtc_jax.errors import InputError
from dtc_jax.statistics import audit as audit_lib


def run(claims: storage.PathLike, out: storage.PathLike | None = None) -> dict[str, Any]:
    """Prints what follows from a paper's figures and what does not.

    Args:
      claims: YAML file, see `statistics.audit`; an example is configs/claims/dtc_study.yaml.
      out: folder for audit.json, or None.

    Returns:
      What `statistics.audit.audit` found.

    Raises:
      InputError: the file is missing, not YAML, or a claim is not what it must be.
    """
    try:
        found = audit_lib.audit(_read(pathlib.Path(claims)))
    except InputError as error:
        raise InputError(f"{claims}: {error}") from error
    print(_text(found))
    if out is not None:
        storage.write_json(pathlib.Path(out) / "audit.json", found)
    return found


def _read(path: pathlib.Path) -> Any:
    try:
        # BaseLoader keeps every number as printed: .800 is more precise than .8.
        return yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    except FileNotFoundError as error:
        raise InputError("no such file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("cannot be read; give the path of a YAML file in UTF-8.") from error
    except yaml.YAMLError as error:
        raise InputError(f"is not valid YAML ({' '.join(str(error).split())}).") from error


def _text(found: dict[str, Any]) -> str:
    lines = [found["title"]] if found["title"] else []
    for one in found["sums"]:
        lines.append(f"{one['name']}: {' + '.join(map(str, one['parts']))}, printed {one['total']}")
    for one in found["tables"]:
        lines += [f"{one['name']}:", *(f"  {line}" for line in _table_lines(one))]
    for one in (*found["means"], *found["counts"], *found["comparisons"]):
        tests = [f"{name} P {test['p']:.4f}" for name, test in one["tests"].items()]
        lines.append(f"{one['name']}: {'; '.join(tests)}")
    findings = [f"  {finding}" for finding in found["findings"]]
    if not findings:
        return "\n".join([*lines, "Nothing that is printed contradicts another figure."])
    return "\n".join([*lines, "What does not follow:", *findings])


def _table_lines(one: dict[str, Any]) -> list[str]:
    count, first = one["matrices_found"], next(iter(one["matrices"]), None)
    lines = []
    if first:
        matrix = "TP {tp}, FN {fn}, TN {tn}, FP {fp}".format(**first)
        n = sum(first.values())
        how = "the only one that fits" if count == 1 else f"the smallest of {count} that fit"
        lines.append(f"confusion matrix: {matrix} (n = {n}), {how}{_without(one)}")
    for name, rate in one.get("rates", {}).items():
        interval = f"{rate['value']:.4f} [{rate['low']:.4f}, {rate['high']:.4f}]"
        lines.append(f"{name} {interval}, n = {rate['n']}")
    if "rates" in one:
        benefit = one["net_benefit_at_half"]
        lines.append(
            f"accuracy of always giving the more frequent label {one['majority_accuracy']:.4f}"
        )
        lines.append(
            f"net benefit at .5: model {benefit['model']:.4f}, withholding from all "
            f"{benefit['all']:.4f}"
        )
    if "auc" in one:
        lines += _auc_lines(one["auc"])
    return lines


def _without(one: dict[str, Any]) -> str:
    names = [misfit["figure"] for misfit in one["misfits"]]
    return f" all but {', '.join(names)}" if names else ""


def _auc_lines(auc: dict[str, Any]) -> list[str]:
    low, high = auc["hanley_mcneil_interval"]
    lines = [
        f"AUC {auc['value']}: standard error {auc['hanley_mcneil_se']:.5f} by Hanley and McNeil, "
        f"interval {low:.3f} to {high:.3f}"
    ]
    for one in auc.get("by_icc", ()):
        low, high = one["interval"]
        lines.append(
            f"  if lesions of a patient correlate by {one['icc']} "
            f"(design effect {one['design_effect']:.2f}): {low:.3f} to {high:.3f}"
        )
    return lines
