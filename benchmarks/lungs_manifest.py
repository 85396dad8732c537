"""Writes the manifest of `configs/vnet.py:lungs`: four whole chests, and nodules of LIDC-IDRI.

    python -m benchmarks.lungs_manifest DATA FOLDER RUN

DATA is the folder that DTC_JAX_DATA names, RUN a run of `configs/vnet.py:nodules`. FOLDER gets
lungs.csv, and scans.csv with the whole scans alone, to evaluate on. RUN is to start from: patients
that it has seen are for training, and every other one of its test patients for validation. Nodules
of patients whom RUN does not know are left out. The chests are for training; to judge the network
on one of them, train without it, as by --config.data.exclude_patients="('NLST-101287',)".
"""

import pathlib
import sys

import pandas as pd

from benchmarks import chests_manifest, nodules_manifest

_COLUMNS = [*chests_manifest.COLUMNS, "split"]


def main(data: pathlib.Path, folder: pathlib.Path, run: pathlib.Path) -> None:
    """Copies chests and nodules, and writes both tables."""
    nodules = nodules_manifest.read_nodules(data)
    nodules = nodules.merge(_sides(run), on="patient_id")
    scans = chests_manifest.copy_scans(data, folder)
    nodules_manifest.copy_nodules(nodules, data, folder)
    parts = [scans.assign(split="train"), nodules.assign(view="cube", mask_label="")]
    table = pd.concat(parts, ignore_index=True).reindex(columns=_COLUMNS)
    table.to_csv(folder / "lungs.csv", index=False)
    scans.to_csv(folder / "scans.csv", index=False)
    print(f"{folder}: {scans.patient_id.nunique()} chests; nodules by side:")
    print(nodules.split.value_counts().to_string())


def _sides(run: pathlib.Path) -> pd.DataFrame:
    """patient_id and split of those whom `run` has seen or was tested on."""
    path = run / "cases.csv"
    if not path.is_file():
        sys.exit(f"{path}: no such file; give a run of configs/vnet.py:nodules that has ended.")
    cases = pd.read_csv(path, dtype=str).drop_duplicates("patient_id")
    tested = sorted(cases.patient_id[cases.split == "test"])
    sides = dict.fromkeys(tested[::2], "validation") | dict.fromkeys(tested[1::2], "test")
    return cases[["patient_id"]].assign(split=cases.patient_id.map(sides).fillna("train"))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(pathlib.Path, sys.argv[1:]))
