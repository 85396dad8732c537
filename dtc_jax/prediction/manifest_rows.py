"""A reviewed answer as rows of a manifest, on which networks are trained and evaluated.

Lesions that nobody has accepted, drawn or rejected are neither lesion nor background: they have no
row and are in the mask of what is ignored.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.imaging.volume import Volume
from dtc_jax.prediction.answer import Answer

FILE, IGNORED = "manifest.csv", "unreviewed.nii.gz"
COLUMNS = (
    *("patient_id", "lesion_id", "image", "mask", "mask_label", "label"),
    *("lungs", "ignore", "change", "reviewer"),
)
_LEFT = ("rejected", "removed")


def make(
    scan: Mapping[str, Any], answer: Answer, changes: pd.DataFrame, labels: Mapping[int, str]
) -> tuple[pd.DataFrame, Volume | None]:
    """The rows of a scan, and the mask of what is ignored; None where everything was reviewed.

    A scan of which no lesion is left has one row, without lesion_id and mask.

    Args:
      scan: what run.json says of it.
      answer: the final one.
      changes: of `changes.table`.
      labels: '1' RAI-refractory or '0' RAI-avid of the lesions where it is known, by number.
    """
    patient = scan["patient_id"] or _name(scan)
    kept = changes[~changes.change.isin(_LEFT)]
    unreviewed = kept.lesion_id[kept.change == "unreviewed"]
    ignored = None
    if len(unreviewed):
        region = np.isin(answer.mask.array, unreviewed).astype(np.uint8)
        ignored = Volume(region, answer.mask.affine)
    common: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {
        "patient_id": patient,
        "image": "scan.nii.gz",
        "lungs": "lungs.nii.gz" if answer.sides is not None else "",
        "ignore": IGNORED if ignored is not None else "",
    }
    rows = [
        {
            **common,
            "lesion_id": f"{_name(scan)}-{row.lesion_id}",
            "mask": "lesions.nii.gz",
            "mask_label": row.lesion_id,
            "label": labels.get(row.lesion_id, ""),
            "change": row.change,
            "reviewer": row.reviewer,
        }
        for row in kept[kept.change != "unreviewed"].itertuples()
    ]
    return pd.DataFrame(rows or [common], columns=list(COLUMNS)), ignored


def _name(scan: Mapping[str, Any]) -> str:
    """The id of the scan; of a single scan, which has none, a part of its fingerprint."""
    if scan["scan_id"] != "scan":
        return str(scan["scan_id"])
    return f"scan-{scan['fingerprint'][:8]}"


def pooled(parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The manifests of several scans as one, with paths from the folder that they share.

    Args:
      parts: by the folder of each manifest, relative to the shared one.
    """
    files = ("image", "mask", "lungs", "ignore")
    moved = [
        part.assign(**{c: [f"{folder}/{name}" if name else "" for name in part[c]] for c in files})
        for folder, part in parts.items()
    ]
    return pd.concat(moved, ignore_index=True)
