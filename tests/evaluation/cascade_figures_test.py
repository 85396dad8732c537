"""The figures of both networks together, from tables made by hand."""

import pandas as pd

from benchmarks import pooled_scans
from dtc_jax.evaluation import cascade_figures


def _tables() -> dict[str, pd.DataFrame]:
    """Two whole scans, each with a lesion and four false findings, and two cubes with a lesion."""
    names = {"patient_id": list("abcd"), "scan_id": ["s0", "s1", "s2", "s3"]}
    scans = pd.DataFrame({**names, "view": ["scan", "scan", "cube", "cube"]})
    lesions = pd.DataFrame({**names, "dice": [0, 0.8, 0.8, 0.8], "diameter_mm": 6.0})
    false = pd.DataFrame({"patient_id": list("aaaabbbb"), "scan_id": ["s0"] * 4 + ["s1"] * 4})
    volumes = {"found_mm3": 100.0, "true_mm3": 90.0, "shared_voxels": 0}
    return {
        "scans": scans.assign(dice=0.8, surface_dice=0.8, hausdorff_95_mm=2.0, **volumes),
        "lesions": lesions.assign(is_found=lesions.dice > 0, score=lesions.dice + 0.1),
        "candidates": false.assign(score=0.5, is_false=True, probability=0.9),
    }


def test_false_findings_are_counted_by_whole_scan():
    tables = _tables()
    lesions = tables["lesions"].assign(cohort="primary")[:0]
    patients = tables["scans"][["patient_id"]].assign(cohort="primary")
    found = cascade_figures.by_cohort(lesions, tables, patients, threshold=0.5)["primary"]
    detection = found["detection"]
    assert (detection["scans"], detection["cubes"], detection["lesions"]) == (2, 2, 2)
    assert detection["sensitivity"]["value"] == 0.5
    for figure in (detection["false_positives_per_scan"], found["false_alarms_per_scan"]):
        assert (figure["value"], figure["n"]) == (4, 2)


def test_pooled_runs_count_whole_scans(tmp_path, capsys):
    for number, patients in enumerate(("ac", "bd")):
        (tmp_path / f"run{number}/scans").mkdir(parents=True)
        for name, table in _tables().items():
            own = table[table.patient_id.isin(list(patients))]
            own.to_csv(tmp_path / f"run{number}/scans/{name}.csv", index=False)
    pooled_scans.main([tmp_path / "run0", tmp_path / "run1"])
    printed = capsys.readouterr().out
    assert printed.startswith("2 whole scans of 2 patients, 2 lesions")
    (false,) = [
        line for line in printed.splitlines() if line.startswith("  false positives a scan")
    ]
    assert "4.000" in false
