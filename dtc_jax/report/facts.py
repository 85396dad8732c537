"""What a run's own files say for a reader and for the reporting guidelines, in sentences."""

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dtc_jax.report import wording
from dtc_jax.report.performance import who
from dtc_jax.report.subject import Subject

_LIBRARIES = ("dtc-jax", "jax", "flax", "optax", "numpy", "scipy", "pandas", "scikit-learn")


def facts(subject: Subject) -> dict[str, str]:
    """Sentences by keyword, the keywords of checklist.csv; what is not known is absent."""
    found = {**_of_data(subject), **_of_figures(subject)}
    if subject.artefacts.config is not None:
        found |= _of_config(subject.artefacts.config, subject.artefacts.metrics)
    return {key: text for key, text in found.items() if text}


def fingerprints(subject: Subject) -> list[str]:
    """What identifies the run's predictions, split and data; the first digits of each."""
    known = {
        "predictions": subject.artefacts.fingerprint,
        "split": subject.artefacts.metrics.get("split", {}).get("fingerprint", ""),
        "labels": subject.artefacts.data.get("labels", ""),
        "crops": subject.artefacts.data.get("crops", ""),
    }
    return [f"SHA-256 of the {name}: {value[:16]}" for name, value in known.items() if value]


def software() -> str:
    """Python and the libraries that are here, with their versions."""
    known = []
    for name in _LIBRARIES:
        try:
            known.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"Python {platform.python_version()}, {', '.join(known)}, when this report was made"


def _of_data(subject: Subject) -> dict[str, str]:
    rows, flow = subject.rows, subject.artefacts.metrics.get("flow", [])
    lesions = rows.drop_duplicates(["patient_id", "lesion_id"])
    excluded = [step for step in flow if step["kind"] == "excluded"]
    empty = {
        name: int(lesions[name].isna().sum())
        for name in ("label", "score", "age", "sex", "diameter_mm")
        if name in lesions and lesions[name].isna().any()
    }
    cohorts = [
        f"{cohort}: {wording.count(len(own), 'lesion')} of "
        f"{wording.count(own.patient_id.nunique(), 'patient')}"
        for cohort, own in lesions.groupby("cohort", sort=False)
    ]
    acquired = [name for name in ("scanner", "kvp", "slice_mm") if name in rows]
    described = [name for name in ("age", "sex", "center", "diameter_mm") if name in rows]
    centers = sorted(set(rows.center.dropna()) - {"unknown"}) if "center" in rows else []
    return {
        "eligibility": "Flowchart: " + "; ".join(dict.fromkeys(step["reason"] for step in excluded))
        if excluded
        else "",
        "flow": "Flowchart" if flow else "",
        "missing": "empty cells, of lesions: "
        + (", ".join(f"{name} {count}" for name, count in empty.items()) or "none"),
        "acquisition": f"Cohort tables: {', '.join(acquired)}" if acquired else "",
        "characteristics": f"Cohort tables: {', '.join(described)}" if described else "",
        "centers": f"{len(centers)} centres" if centers else "",
        "cohorts": "; ".join(cohorts) if len(cohorts) > 1 else "",
        "reference": _labelled(lesions),
    }


def _labelled(lesions: pd.DataFrame) -> str:
    """By which of the study's rules the lesions have their labels; '' where it is not known."""
    if "label_reason" not in lesions:
        return ""
    counts = lesions.label_reason.value_counts()
    rules = "(a) uptake below 10 %, (b) none and pathology, (c) none, thyroglobulin and growth"
    return f"{', '.join(f'{name} {count}' for name, count in counts.items())}; {rules}"


def _of_figures(subject: Subject) -> dict[str, str]:
    tested = dict(subject.tested())
    if not tested:
        return {}
    sources = {source for section in tested.values() for source in [section["threshold"]["source"]]}
    leaked = sum(section["leaked_patients"] for section in tested.values())
    splits = {split for by_split in subject.sections.values() for split in by_split}
    factors = {group["factor"] for section in tested.values() for group in section["subgroups"]}
    recalibrated = any(
        section["calibration"] and section["calibration"]["recalibrated"]
        for section in tested.values()
    )
    return {
        "disjoint": f"patient: {leaked} test patients are in training" if len(splits) > 1 else "",
        "metrics": "AUC, sensitivity, specificity, accuracy, PPV, NPV, F1, average precision, net "
        "benefit, calibration",
        "uncertainty": "95 % intervals with the patient as cluster, beside the naive ones",
        "internal": "; ".join(f"{c}: {who(s)}" for c, s in tested.items() if c != "external"),
        "external": "; ".join(f"{c}: {who(s)}" for c, s in tested.items() if c == "external"),
        "performance": "Table of performance; ROC curves",
        "rates": "Table of performance: rates with their intervals and the counts",
        "counts": "; ".join(f"{cohort}: {who(section)}" for cohort, section in tested.items()),
        "subgroups": f"Forest plots by {', '.join(sorted(factors))}" if factors else "",
        "centers_performance": "Forest plots by centre" if "center" in factors else "",
        "threshold": f"probability of RAI-refractory; threshold: {'; '.join(sorted(sources))}",
        "recalibration": "Calibration: fitted on validation alone, given beside the scores as "
        "predicted"
        if recalibrated
        else "",
        "failures": "Table of wrong decisions",
        "software": software(),
    }


def _of_config(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, str]:
    """Only the sections that the configuration has are spoken of."""

    def fields(name: str) -> str:
        return ", ".join(f"{key} {_plain(value)}" for key, value in config.get(name, {}).items())

    split, train, data = (config.get(name, {}) for name in ("split", "train", "data"))
    kind = f"{split.get('folds')}-fold" if split.get("folds") else split.get("kind")
    monitor = train.get("monitor")
    candidates = config.get("candidates") or {}
    among = f", among the candidates {', '.join(sorted(candidates))}" if candidates else ""
    mirrored = config.get("predict", {}).get("mirror")
    return {
        "technology": "a 3-D residual network with squeeze and excitation on chest CT",
        "source": f"{data.get('source')}" if data else "",
        "preprocessing": f"{fields('preprocess')} (crop and spacing in mm, window in HU)",
        "predictors": "the CT about the lesion alone" if config.get("preprocess") else "",
        "selection": fields("selection"),
        "partition": f"{kind} by {split.get('unit')}, seed {split.get('seed')}" if split else "",
        "model": fields("model"),
        "initialization": f"at random, seed {config['seed']}; no pretrained weights"
        if "seed" in config
        else "",
        "training": f"{fields('optimizer')}; epochs {train.get('epochs')}, batch "
        f"{train.get('batch_size')}; augmentation: {fields('augment')}; loss: {fields('loss')}"
        if train
        else "",
        "chosen": f"best {monitor} of the validation split{among}" if monitor else "",
        "ensembling": "one network a split"
        + ("; mean over the mirror images of a lesion" if mirrored else ""),
        "predictions": "config.json and checkpoints/ of the run; launch.py --mode=evaluate",
        "imbalance": f"class weights: {config.get('loss', {}).get('class_weight')}",
        "details": "config.json holds every field of the run",
    }


def _plain(value: Any) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, list | tuple) else str(value)
