"""Time and memory where there are many patients: does anything grow faster than the cohort?

    python -m benchmarks.large_cohorts --stages=tables,records,beam [--folder=FOLDER]

- `tables`: 10³, 10⁴ and 10⁵ lesions, five a patient, through manifest, split, statistics and
  report. Each size is worked on in a process of its own. The files of the manifest are empty.
- `records`: one epoch of training over 10⁵ records of 24³ voxels of noise, about 4 GB on disk.
- `beam`: the phantom of 200 and of 2000 patients, in small scans, built by Beam. Needs the extra
  `beam`, and an hour or two: --patients=20,200 for less.

FOLDER (default: a temporary one) is emptied of what each stage made.
"""

import argparse
import pathlib
import shutil
import tempfile

from benchmarks import large_beam, large_records, large_tables


def main() -> None:
    """Prints a table for each stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", default="tables,records,beam")
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--lesions", default="1000,10000,100000", help="of the stage tables")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--patients", default="200,2000", help="of the stage beam")
    given = parser.parse_args()
    stages = given.stages.split(",")
    if unknown := set(stages) - {"tables", "records", "beam"}:
        parser.error(f"--stages: there is no {', '.join(sorted(unknown))}.")
    with tempfile.TemporaryDirectory(prefix="large-cohorts-") as folder:
        _run(stages, given, given.folder or pathlib.Path(folder))


def _run(stages: list[str], given: argparse.Namespace, home: pathlib.Path) -> None:
    """Each stage in a folder of its own in `home`."""
    for stage in stages:
        folder = home / stage
        folder.mkdir(parents=True)
        try:
            if stage == "tables":
                large_tables.run(folder, [int(n) for n in given.lesions.split(",")])
            elif stage == "records":
                large_records.run(folder, given.records)
            else:
                large_beam.run(folder, [int(n) for n in given.patients.split(",")])
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
