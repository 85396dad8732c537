import re

import pandas as pd

from dtc_jax.report import drawing, flowchart

STEPS = [
    {"reason": "in the manifest", "lesions": 12, "patients": 6, "kind": "count"},
    {"reason": "another cancer", "lesions": 3, "patients": 1, "kind": "excluded"},
    {"reason": "poor image quality", "lesions": 0, "patients": 0, "kind": "excluded"},
    {"reason": "without a label", "lesions": 1, "patients": 0, "kind": "excluded"},
    {"reason": "label as given", "lesions": 8, "patients": 5, "kind": "note"},
    {"reason": "in the study", "lesions": 8, "patients": 5, "kind": "count"},
]
LESIONS = pd.DataFrame(
    {
        "patient_id": list("aabbcdde"),
        "lesion_id": list("12345678"),
        "label": [0, 0, 1, 1, 1, 0, 1, 0],
        "split": ["train"] * 4 + ["validation"] + ["test"] * 3,
        "fold": 0,
    }
)


def texts(steps, lesions, tmp_path) -> str:
    with drawing.style():
        svg = drawing.save(flowchart.draw(steps, lesions), tmp_path / "chart")
    return " ".join(re.findall(r">([^<>]+)</text>", svg))


def test_counts_exclusions_and_splits_are_told(tmp_path):
    found = texts(STEPS, LESIONS, tmp_path)
    assert "12 lesions of 6 patients in the manifest" in found
    assert "excluded 4 lesions, including all lesions of 1 patient" in found
    assert "3 another cancer" in found
    assert "1 without a label" in found
    assert "poor image quality" not in found  # nobody left by it
    assert "label as given" not in found
    assert "8 lesions of 5 patients in the study" in found
    assert "train 4 lesions of 2 patients 2 refractory 2 avid" in found
    assert "validation 1 lesion of 1 patient 1 refractory 0 avid" in found
    assert "test 3 lesions of 2 patients 1 refractory 2 avid" in found


def test_folds_are_told_instead_of_splits(tmp_path):
    turned = LESIONS.assign(split=["test"] * 4 + ["train"] * 4)
    other = LESIONS.assign(split=["train"] * 4 + ["test"] * 4, fold=1)
    found = texts([], pd.concat([turned, other]), tmp_path)
    assert "in the table of predictions: 8 lesions of 5 patients" in found
    assert "2 folds" in found
    assert "train" not in found
