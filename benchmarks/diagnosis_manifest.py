"""Writes the manifest of `configs/senet.py:diagnosis`: metastases against other nodules.

    python -m benchmarks.diagnosis_manifest DATA FOLDER

DATA is the folder that DTC_JAX_DATA names. The Cancer Imaging Archive knows the diagnosis of some
of the patients. Their nodules are copied into FOLDER, beside diagnosis.csv.
"""

import pathlib
import sys

from benchmarks.nodules_manifest import copy_nodules, read_nodules

_LABELS = {"metastasis": "1", "primary_lung_cancer": "0", "benign": "0"}


def main(data: pathlib.Path, folder: pathlib.Path) -> None:
    """Copies the nodules, and writes their table."""
    nodules = read_nodules(data)
    nodules["label"] = nodules.tcia_diagnosis.map(_LABELS)
    nodules = nodules[nodules.label.notna()].drop(columns="tcia_diagnosis")
    copy_nodules(nodules, data, folder)
    nodules.to_csv(folder / "diagnosis.csv", index=False)
    print(f"{folder}: {len(nodules)} nodules of {nodules.patient_id.nunique()} patients")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
