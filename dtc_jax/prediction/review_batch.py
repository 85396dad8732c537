"""The reviews of many scans at once, and the manifest of all of them."""

import pathlib

from dtc_jax import csv_reader, progress, storage
from dtc_jax.errors import InputError
from dtc_jax.prediction import batch, manifest_rows, reviewed
from dtc_jax.prediction import folder as folder_lib
from dtc_jax.report import review

_MASKS = (".nii.gz", ".nii", ".nrrd", ".mha")


def apply(
    out: pathlib.Path, reviews: pathlib.Path, classifier: storage.PathLike = ""
) -> pathlib.Path:
    """Makes the final answer of each scan of a batch that has a review, and pools them.

    Scans that were predicted and reviewed by earlier calls with the same `out` stay in the pool.

    Args:
      out: of the batch.
      reviews: folder of the CSVs as the pages name them (review_SCAN_ID.csv, or SCAN_ID.csv), and
        of edited masks, SCAN_ID.nii.gz or .nrrd.
      classifier: folder of the run, if it has moved since.

    Returns:
      manifest.csv in `out`, the rows of all reviewed scans of the batch.

    Raises:
      InputError: there is no review, a file belongs to no scan, or some reviews failed, once all
        others are done.
    """
    scans = csv_reader.read_table(out / "scans.csv", ("scan_id", "patient_id"))
    names = list(scans.scan_id[scans.status == "done"])
    decisions, masks = _files(reviews, names)
    failed = []
    for name in progress.track([name for name in names if name in decisions], "reviews"):
        try:
            reviewed.apply(out / name, decisions[name], masks.get(name, ""), classifier=classifier)
            print(f"{name}: reviewed", flush=True)
        except InputError as error:
            failed.append(name)
            print(f"{name}: failed: {error}", flush=True)
    parts = {
        f"{name}/{reviewed.FOLDER}": csv_reader.read(path, "the manifest of a review")
        for name, path in _manifests(out).items()
        if name not in failed
    }
    target = out / manifest_rows.FILE
    if parts:
        storage.write_table(target, manifest_rows.pooled(parts))
        said = f"{len(parts)} in all are in {target}."
    else:
        said = f"{target} is as it was before." if target.exists() else "there is no manifest yet."
    print(f"{len(decisions) - len(failed)} of {len(names)} scans are reviewed now; {said}")
    nameless = sum(not folder_lib.read_record(out / part)["scan"]["patient_id"] for part in parts)
    if nameless and len(parts) > 1:
        count = "1 scan has" if nameless == 1 else f"{nameless} scans have"
        print(
            f"{count} no patient_id, so each counts as a patient of its own. Before training, give "
            f"the scans of one patient the same patient_id in {target}."
        )
    if failed:
        raise InputError(
            f"{len(failed)} of {len(decisions)} reviews failed: {', '.join(failed)}. Correct them "
            "and run the same command again."
        )
    return target


def _manifests(out: pathlib.Path) -> dict[str, pathlib.Path]:
    """The manifest of each reviewed scan in a folder, by the scan's id."""
    paths = sorted(out.glob(f"*/{reviewed.FOLDER}/{manifest_rows.FILE}"))
    return {path.parent.parent.name: path for path in paths}


def _files(
    reviews: pathlib.Path, names: list[str]
) -> tuple[dict[str, pathlib.Path], dict[str, pathlib.Path]]:
    """The CSV and the edited mask of each scan, by its id."""
    decisions: dict[str, pathlib.Path] = {}
    masks: dict[str, pathlib.Path] = {}
    by_stem: dict[str, set[str]] = {}
    for name in names:
        for stem in (name, review.file_stem(name)):
            by_stem.setdefault(stem, set()).add(name)
    for path in sorted(path for path in reviews.iterdir() if not path.name.startswith(".")):
        suffix = next((s for s in (".csv", *_MASKS) if path.name.lower().endswith(s)), "")
        if not suffix:
            continue
        fitting = by_stem.get(path.name[: -len(suffix)], set())
        if len(fitting) != 1:
            which = f"fits the scans {', '.join(sorted(fitting))}" if fitting else "belongs to none"
            raise InputError(
                f"{path}: {which} of the batch; name it SCAN_ID{suffix}. The scans are "
                f"{', '.join(names[:10])}{', …' if len(names) > 10 else ''}."
            )
        (name,) = fitting
        found = decisions if suffix == ".csv" else masks
        if name in found:
            raise InputError(f"{path}: {found[name].name} is of the same scan; delete one.")
        found[name] = path
    alone = sorted(set(masks) - set(decisions))
    if alone:
        raise InputError(f"{masks[alone[0]]}: is an edited mask without a CSV of its review.")
    if not decisions:
        raise InputError(f"{reviews}: has no CSV of a review; download them from the pages.")
    return decisions, masks


def is_batch(out: pathlib.Path) -> bool:
    """Whether a folder is that of a batch."""
    return (out / batch.CLAIM).is_file()
