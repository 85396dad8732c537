"""Answers to the items of the reporting checklists, taken from a run's own files."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from dtc_jax import versions
from dtc_jax.report.performance import counts
from dtc_jax.report.report_run import ReportRun
from dtc_jax.statistics.formatting import count, setting


def answers(run: ReportRun) -> dict[str, str]:
    """Answers by keyword of checklist.csv; an unknown answer is absent."""
    texts = {**_of_data(run), **_of_figures(run)}
    if run.artefacts.examples:
        texts["explainability"] = "Where the network looks: heat maps (Grad-CAM) of examples"
    if run.artefacts.config is not None:
        texts |= _of_config(run.artefacts.config)
        texts["initialization"] = _initialization(run)
    return {key: text for key, text in texts.items() if text}


def fingerprints(run: ReportRun) -> list[str]:
    """The first digits of the fingerprints of the predictions, the split and the data."""
    hashes = {
        "predictions": run.artefacts.fingerprint,
        "split": run.artefacts.metrics.get("split", {}).get("fingerprint", ""),
        "labels": run.artefacts.data.get("labels", ""),
        "crops": run.artefacts.data.get("crops", ""),
    }
    return [f"SHA-256 of the {name}: {value[:16]}" for name, value in hashes.items() if value]


def software() -> str:
    """The installed versions of Python and the libraries."""
    python, *libraries = (f"{name} {version}" for name, version in versions.installed().items())
    return f"{', '.join([python.capitalize(), *libraries])}, when this report was made"


def _of_data(run: ReportRun) -> dict[str, str]:
    rows, flow = run.rows, run.artefacts.metrics.get("flow", [])
    lesions = rows.drop_duplicates(["patient_id", "lesion_id"])
    excluded = [step for step in flow if step["kind"] == "excluded"]
    missing = {
        name: int(lesions[name].isna().sum())
        for name in ("label", "score", "age", "sex", "diameter_mm")
        if name in lesions and lesions[name].isna().any()
    }
    cohorts = [
        f"{cohort}: {count(len(rows_of), 'lesion')} of "
        f"{count(rows_of.patient_id.nunique(), 'patient')}"
        for cohort, rows_of in lesions.groupby("cohort", sort=False)
    ]
    of_scan = ("scanner", "kvp", "tube_current_ma", "kernel", "pixel_mm", "slice_mm")
    acquired = [name for name in of_scan if name in rows and rows[name].notna().any()]
    described = [name for name in ("age", "sex", "center", "diameter_mm") if name in rows]
    centers = sorted(set(rows.center.dropna()) - {"unknown"}) if "center" in rows else []
    return {
        "eligibility": "Flowchart: " + "; ".join(dict.fromkeys(step["reason"] for step in excluded))
        if excluded
        else "",
        "flow": "Flowchart" if flow else "",
        "missing": "lesions with a missing value: "
        + (", ".join(f"{name} {number}" for name, number in missing.items()) or "none"),
        "acquisition": f"Cohort tables: {', '.join(acquired)}" if acquired else "",
        "characteristics": f"Cohort tables: {', '.join(described)}" if described else "",
        "centers": count(len(centers), "centre") if centers else "",
        "cohorts": "; ".join(cohorts) if len(cohorts) > 1 else "",
        "reference": _reference_standard(lesions),
    }


def _reference_standard(lesions: pd.DataFrame) -> str:
    """The study's rules that gave the labels, with counts; '' if unknown."""
    if "label_reason" not in lesions:
        return ""
    counts_by_rule = lesions.label_reason.value_counts()
    rules = (
        "(a) uptake below 10 %, (b) no uptake and confirmed by pathology, (c) no uptake, rising "
        "thyroglobulin and growth"
    )
    return f"{', '.join(f'{name} {n}' for name, n in counts_by_rule.items())}; {rules}"


def _of_figures(run: ReportRun) -> dict[str, str]:
    tested = dict(run.tested())
    if not tested:
        return {}
    sources = {section["threshold"]["source"] for section in tested.values()}
    leaked = sum(section["leaked_patients"] for section in tested.values())
    splits = {split for by_split in run.sections.values() for split in by_split}
    developed = {cohort for cohort, by_split in run.sections.items() if "train" in by_split}
    groups = [group for section in tested.values() for group in section["subgroups"]]
    factors = {group["factor"] for group in groups}
    recalibrated = any(
        section["calibration"] and section["calibration"]["recalibrated"]
        for section in tested.values()
    )
    return {
        "disjoint": f"patient: {leaked} test patients are also in training"
        if len(splits) > 1
        else "",
        "metrics": "AUC, sensitivity, specificity, accuracy, PPV, NPV, F1, average precision, net "
        "benefit, calibration",
        "uncertainty": "95 % intervals clustered by patient, and naive ones for comparison",
        "internal": "; ".join(f"{c}: {counts(s)}" for c, s in tested.items() if c in developed),
        "external": "; ".join(f"{c}: {counts(s)}" for c, s in tested.items() if c not in developed)
        if developed
        else "",
        "performance": "Table of performance; ROC curves",
        "rates": "Table of performance: rates with intervals and counts",
        "counts": "; ".join(f"{cohort}: {counts(section)}" for cohort, section in tested.items()),
        "subgroups": f"Forest plots by {', '.join(sorted(factors))}" if factors else "",
        "boundaries": _boundaries(groups),
        "centers_performance": "Forest plots by centre" if "center" in factors else "",
        "threshold": f"probability of RAI-refractory; threshold: {'; '.join(sorted(sources))}",
        "recalibration": "Calibration: fitted on validation lesions only, reported next to the "
        "scores as predicted"
        if recalibrated
        else "",
        "failures": "Table of wrong decisions",
    }


def _boundaries(groups: Sequence[Mapping[str, Any]]) -> str:
    """Into which categories diameter and age were divided; '' if neither is known."""
    levels: dict[str, list[str]] = {}
    for group in groups:
        if group["factor"] in ("diameter", "age"):
            levels.setdefault(f"{group['factor']} ({group['note']})", []).extend(
                level["level"] for level in group["levels"]
            )
    return "; ".join(f"{name}: {', '.join(dict.fromkeys(found))}" for name, found in levels.items())


def _technology(model: Mapping[str, Any]) -> str:
    """The kind of the network, with the parts that its configuration turns on."""
    if not model:
        return ""
    kind = "3-D residual network" if model.get("residual", True) else "3-D convolutional network"
    has_se = model.get("se", True) not in (False, "none")
    return f"a {kind}{' with squeeze-and-excitation blocks' * has_se} on chest CT"


def _predictors(config: Mapping[str, Any]) -> str:
    """What the network is given of a lesion."""
    parts = ["the CT around the lesion"]
    mask = config["preprocess"].get("mask", "none")
    parts += {"channel": ["its mask"], "apply": ["within its mask"]}.get(mask, [])
    if (config.get("model") or {}).get("measures"):
        parts.append("measures of its size, margin and density")
    return f"only {', '.join(parts)}"


def _initialization(run: ReportRun) -> str:
    """Random, or from the weights of another run, as its init.json says."""
    config, init = run.artefacts.config or {}, run.artefacts.init
    if "seed" not in config:
        return ""
    if init is None:
        return f"random, seed {config['seed']}; no pretrained weights"
    taken = sum(fit["taken"] for fit in init["arrays"].values())
    random = sum(len(fit["random"]) for fit in init["arrays"].values())
    seen = sum(map(len, init["seen"].values()))
    whom = f"{seen} patients who are neither in validation nor in test here"
    return (
        f"weights of the run {init['run']} (SHA-256 {init['weights'][:16]}), trained or chosen on "
        f"{whom if init['seen'] else 'patients who are not known'}: {taken} arrays taken, "
        f"{random} random with seed {config['seed']}"
    )


def _chosen(config: Mapping[str, Any]) -> str:
    """By what the epoch, and among candidates the network, was chosen."""
    monitor = (config.get("train") or {}).get("monitor")
    if not monitor:
        return ""
    if (config.get("split") or {}).get("kind") == "two_part":
        return "nothing: there is no validation split, and the last epoch was taken"
    names = (
        "" if config.get("combine") == "mean" else ", ".join(sorted(config.get("candidates") or {}))
    )
    if config["train"].get("keep") == "last":
        if not names:
            return "nothing: the last epoch was taken"
        return f"the last epoch; among the candidates {names} the best {monitor} of validation"
    return f"best {monitor} of the validation split{names and f', among the candidates {names}'}"


def _ensembling(config: Mapping[str, Any]) -> str:
    """How many networks decide together, of candidates that may differ in it."""
    train = config.get("train") or {}
    own = {f"train.{name}": train.get(name, 1) for name in ("ensemble", "snapshots")}
    each = [
        math.prod(fields.get(name, value) for name, value in own.items())
        for fields in _candidates(config).values() or [{}]
    ]
    numbers = [sum(each)] if config.get("combine") == "mean" else sorted(set(each))
    if numbers == [1]:
        return "one network per split"
    by = ", by the candidate" if len(numbers) > 1 else ""
    return f"mean logit of {' or '.join(map(str, numbers))} networks per split{by}"


def _candidates(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The fields in which each candidate differs, by their full names."""

    def flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping) and name != "loss.auxiliary":  # whose keys are columns
            for key, inner in value.items():
                yield from flat(inner, f"{name}.{key}" if name else key)
        else:
            yield name, value

    candidates = config.get("candidates") or {}
    return {name: dict(flat(fields, "")) for name, fields in sorted(candidates.items())}


def _of_config(config: Mapping[str, Any]) -> dict[str, str]:
    """Answers from the sections that the configuration has."""

    def listed(fields: Mapping[str, Any]) -> str:
        return ", ".join(f"{key} {setting(value)}" for key, value in fields.items())

    def fields(name: str) -> str:
        """A section, and what the candidates have in its place."""
        texts, start = [listed(config.get(name, {}))], f"{name}."
        for candidate, changed in _candidates(config).items():
            own = {k.removeprefix(start): v for k, v in changed.items() if k.startswith(start)}
            texts += [f"of candidate {candidate}: {listed(own)}"] if own else []
        return "; ".join(filter(None, texts))

    split, train, model, loss = (
        config.get(name) or {} for name in ("split", "train", "model", "loss")
    )
    kind = f"{split.get('folds')}-fold" if split.get("folds") else split.get("kind")
    mirrored = config.get("predict", {}).get("mirror")
    return {
        "technology": _technology(model),
        "software": software(),
        "source": config.get("data", {}).get("source", ""),
        "preprocessing": f"{fields('preprocess')} (crop and spacing in mm, window in HU)"
        if config.get("preprocess")
        else "",
        "predictors": _predictors(config) if config.get("preprocess") else "",
        "selection": fields("selection"),
        "partition": f"{kind} by {split.get('unit')}, seed {split.get('seed')}" if split else "",
        "model": fields("model"),
        "training": f"{fields('optimizer')}; epochs {train.get('epochs')}, batch "
        f"{train.get('batch_size')}; augmentation: {fields('augment')}; loss: {fields('loss')}"
        if train
        else "",
        "chosen": _chosen(config),
        "ensembling": _ensembling(config)
        + ("; mean over the mirror images of a lesion" if mirrored else ""),
        "predictions": "config.json and checkpoints/ of the run; launch.py --mode=evaluate",
        "imbalance": f"class weights: {loss['class_weight']}" if "class_weight" in loss else "",
        "details": "config.json contains every field of the run",
    }
