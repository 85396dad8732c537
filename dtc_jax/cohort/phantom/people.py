"""The patients of a phantom cohort, their lesions, and the evidence for the class of each."""

import math

import numpy as np
import pandas as pd

from dtc_jax.cohort.phantom.spec import PhantomSpec

# Log-normal diameters of mean 8.67 and standard deviation 5.12 mm: both groups of the paper's
# Table 1 (8.50 ± 5.68 and 8.87 ± 4.35 mm) pooled, since size is uninformative here.
_LOG_MEAN, _LOG_STD = 1.778, 0.748
_DIAMETER_MM = (3.2, 29.8)  # so that masks with 1 mm pixels measure 3 to 30 mm
_LESIONS = (
    0.16,
    0.20,
    0.18,
    0.15,
    0.12,
    0.08,
    0.06,
    0.05,
)  # shares of patients with 1 to 8 lesions
_EXTERNAL_CENTERS = (9 / 24, 15 / 24)
# Reasons for exclusion: a column of the evidence and its value.
_EXCLUSIONS: tuple[dict[str, int | None], ...] = (
    {"histology_confirmed": 0},
    {"other_cancer": 1},
    {"earlier_rai": 1},
    {"first_ct": 0},
    {"quality_ok": 0},
    {"ct_to_spect_days": 30},
    {"ct_to_spect_days": None},  # record missing
)


def generator(spec: PhantomSpec, *key: int) -> np.random.Generator:
    """Random numbers that depend only on the seed and `key`."""
    return np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=key))


def draw(spec: PhantomSpec) -> pd.DataFrame:
    """Draws patients and lesions.

    Returns:
      One row per lesion: the columns of the manifest, except those that depend on the scan; also
      `patient` and `center_index`, from 0, the latent `score`, and the nominal diameter `drawn_mm`.
    """
    rows = []
    groups = _groups(spec)
    for patient, (group, evidence) in enumerate(zip(groups, _exclusions(spec), strict=True)):
        rows += _patient(spec, patient, group, evidence)
    return pd.DataFrame(rows)


def _groups(spec: PhantomSpec) -> list[str]:
    """'avid', 'refractory' or 'both' for every patient: counts by the spec, in random order."""
    rng = generator(spec, 0)
    both = round(spec.both_classes * spec.patients)
    groups = []
    for patients, mixed, prevalence in (
        (spec.patients, both, spec.prevalence),
        (spec.external_patients, 0, spec.external_prevalence),
    ):
        refractory = round(prevalence * (patients - mixed))
        avid = patients - mixed - refractory
        counts = {"both": mixed, "refractory": refractory, "avid": avid}
        groups += rng.permutation(np.repeat(list(counts), list(counts.values()))).tolist()
    return groups


def _exclusions(spec: PhantomSpec) -> list[dict[str, int | None]]:
    """The evidence that excludes each patient; {} for most."""
    rng = generator(spec, 1)
    count = math.ceil(spec.ineligible * spec.patients)
    evidence: list[dict[str, int | None]] = [{}] * (spec.patients + spec.external_patients)
    for i, patient in enumerate(rng.permutation(spec.patients)[:count]):
        evidence[patient] = _EXCLUSIONS[i % len(_EXCLUSIONS)]
    return evidence


def _patient(spec: PhantomSpec, patient: int, group: str, exclusion: dict) -> list[dict]:
    rng = generator(spec, 2, patient)
    external = patient >= spec.patients
    count = 1 + rng.choice(len(_LESIONS), p=_LESIONS)
    if group == "both":
        count = max(count, 2)
        classes = rng.permutation([0, 1, *(rng.random(count - 2) < spec.prevalence)]).astype(int)
    else:
        classes = np.full(count, int(group == "refractory"))
    of_patient = math.sqrt(spec.icc) * rng.normal()
    score = spec.effect * classes + of_patient + math.sqrt(1 - spec.icc) * rng.normal(size=count)
    center = (
        spec.centers + rng.choice(2, p=_EXTERNAL_CENTERS) if external else rng.choice(spec.centers)
    )
    name = f"E{patient - spec.patients + 1:03d}" if external else f"P{patient + 1:03d}"
    common = {
        "patient": patient,
        "center_index": int(center),
        "patient_id": name,
        "cohort": "external" if external else "primary",
        "center": _letter(center),
        "age": int(np.clip(rng.normal(44 + 10 * classes.mean(), 14), 14, 88)),
        "sex": "F" if rng.random() < 0.62 else "M",
        "scan_order": patient + 1,
        "scanner": f"{_letter(center)}{rng.integers(1, 3)}",
        "kvp": int(rng.choice([100, 120], p=[0.3, 0.7])),
        "histology_confirmed": 1,
        "other_cancer": 0,
        "earlier_rai": 0,
        "first_ct": 1,
        "quality_ok": 1,
        "ct_to_spect_days": int(rng.integers(0, 15)),
        **exclusion,
    }
    return [
        {
            **common,
            "lesion_id": f"{name}-{i + 1}",
            "mask_label": i + 1,
            "score": score[i],
            "drawn_mm": _diameter_mm(rng),
            **_evidence(int(classes[i]), rng.random() < spec.indeterminate, rng),
        }
        for i in range(count)
    ]


def _letter(center: int) -> str:
    return chr(ord("A") + center) if center < 26 else f"Z{center}"


def _diameter_mm(rng: np.random.Generator) -> float:
    while True:
        diameter_mm = rng.lognormal(_LOG_MEAN, _LOG_STD)
        if _DIAMETER_MM[0] <= diameter_mm <= _DIAMETER_MM[1]:
            return diameter_mm


def _evidence(label: int, indeterminate: bool, rng: np.random.Generator) -> dict:
    """The evidence for a lesion; see `cohort.selection` for the rules a, b and c."""
    evidence: dict = {
        "label": label,
        "uptake": "none",
        "uptake_percent": None,
        "pathology_confirmed": 0,
        "thyroglobulin_rising": 1,
        "growth": 1,
        "follow_up_months": int(rng.integers(6, 25)),
        "readers_agree": 1,
    }
    if indeterminate:
        missing = rng.choice(["thyroglobulin_rising", "growth", "readers_agree"])
        return evidence | {"label": None, missing: 0}
    if not label:
        return evidence | {"uptake": "clear", "thyroglobulin_rising": 0, "growth": 0}
    rule = rng.choice(["a", "b", "c"], p=[0.3, 0.2, 0.5])
    if rule == "a":
        evidence |= {"uptake": "weak", "uptake_percent": round(rng.uniform(1, 9.9), 1)}
    if rule == "b":
        evidence |= {"pathology_confirmed": 1, "growth": 0}
    return evidence
