"""A segmentation run judged on whole scans: which lesions it finds, and what it finds besides."""

import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax import storage
from dtc_jax.cohort import manifest
from dtc_jax.errors import InputError
from dtc_jax.imaging import volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.segment import Segmenter, make_segmenter
from dtc_jax.report import drawing, outlines
from dtc_jax.runs import data as data_lib
from dtc_jax.runs import kept_scans, known_scan
from dtc_jax.runs import networks as networks_lib
from dtc_jax.runs.fold import Network
from dtc_jax.statistics import detection
from dtc_jax.statistics.formatting import estimate

_PICTURE = 4.3  # inches
_MASK, _FIGURE = "found.nii.gz", "slice"  # of a kept scan
_SEEN = ("train", "validation")  # the network was trained or chosen on them


def judge(
    networks: Sequence[Network],
    splits: Sequence[pd.DataFrame],
    path: storage.PathLike,
    workdir: pathlib.Path,
) -> None:
    """Segments the scans of a manifest whose patients a network has not seen, and judges it.

    Writes scans.csv, lesions.csv (the true ones), candidates.csv (the found ones), metrics.json,
    masks/, which number the found lesions, and figures/, a slice of each scan, into
    `workdir`/scans, which they replace once all of them are there, and prints the figures. What is
    done of a call that was stopped is kept in `workdir`/judged; the same call goes on with it.

    Args:
      networks: of the run, one a fold.
      splits: patient_id and split of what each of them was given.
      path: of the manifest; every lesion of its scans has a row, whatever is known of its label. A
        row with neither lesion_id nor mask is a scan without a lesion. Its column `lungs` names
        masks of the lungs, where they are not to be found.
      workdir: of the run.

    Raises:
      InputError: see the manifest and the scans; or all its patients were seen.
    """
    table = manifest.read_manifest(path, healthy=True)
    judges = _judges(splits, table.patient_id.unique())
    kept = table[table.patient_id.isin(judges)]
    if kept.empty:
        raise InputError(
            f"{path}: the run has seen all of its {table.patient_id.nunique()} patients in "
            "training or validation; name scans of others."
        )
    segmenters = [make_segmenter(network.config, network.result) for network in networks]
    known = [networks_lib.fingerprints([network]) for network in networks]
    done = kept_scans.judge(
        kept,
        workdir / "judged",
        data_lib.hashes(networks[0].config),
        lambda rows: known[judges[rows.patient_id.iloc[0]]],
        lambda rows, partial: _judge(segmenters[judges[rows.patient_id.iloc[0]]], rows, partial),
    )
    tables = kept_scans.gather(done)
    figures = detection.detection(**tables)
    figures["networks"] = known
    figures["shared_voxels"] = int(tables["scans"].shared_voxels.sum())
    figures["patients_left_out"] = int(table.patient_id.nunique() - len(judges))
    with storage.atomic_folder(workdir / "scans") as partial:
        _put_together(done, partial)
        for kind, one in tables.items():
            storage.write_table(partial / f"{kind}.csv", one)
        storage.write_json(partial / "metrics.json", figures)
    print(summary(figures))


def _judge(
    segmenter: Segmenter, rows: pd.DataFrame, folder: pathlib.Path
) -> dict[str, pd.DataFrame]:
    """Judges a scan, gives its tables, and writes what was found in it and a picture."""
    scan = known_scan.read(rows)
    found = known_scan.find(segmenter, scan)
    volume.write(folder / _MASK, found.mask)
    _picture(scan.image, found.mask, scan.truth, folder / _FIGURE)
    return known_scan.compare(found, scan)


def _put_together(done: Sequence[pathlib.Path], folder: pathlib.Path) -> None:
    """Copies the masks and the pictures of all scans into masks/ and figures/."""
    for name in ("masks", "figures"):
        (folder / name).mkdir()
    for number, kept in enumerate(done):
        name = kept_scans.scan_id(number)
        shutil.copyfile(kept / _MASK, folder / "masks" / f"{name}.nii.gz")
        for suffix in (".png", ".svg"):
            shutil.copyfile(kept / f"{_FIGURE}{suffix}", folder / "figures" / f"{name}{suffix}")


def _judges(splits: Sequence[pd.DataFrame], patients: np.ndarray) -> dict[str, int]:
    """The first network for each patient that has not seen the patient, if there is one."""
    seen = [set(rows.patient_id[rows.split.isin(_SEEN)]) for rows in splits]
    blind = {
        patient: [i for i, ids in enumerate(seen) if patient not in ids] for patient in patients
    }
    return {patient: numbers[0] for patient, numbers in blind.items() if numbers}


def _picture(image: Volume, found: Volume, truth: Volume, path: pathlib.Path) -> None:
    """Draws the axial slice that shows most of the true lesions."""
    z = outlines.largest_slice(truth.array > 0)
    _, height, width = image.spacing_mm
    side = (float(height), float(width))
    title = f"slice {z}, {len(np.unique(found.array[z])) - 1} found"
    shown = outlines.Outlined(image.array[z], found.array[z] > 0, truth.array[z] > 0, side, title)
    with drawing.style():
        drawing.save(outlines.outlines([shown], side=_PICTURE), path)


def summary(figures: dict[str, Any]) -> str:
    """The figures of `statistics.detection`, a line each."""
    rows = {
        "Dice of a scan": figures["dice"],
        "surface Dice at 1 mm": figures["surface_dice"],
        "95 % Hausdorff, mm": figures["hausdorff_95_mm"],
        "Dice of a lesion": figures["lesion_dice"],
        "sensitivity": figures["sensitivity"],
        **{f"  {row['diameter']}": row for row in figures["sensitivity_by_diameter"]},
        "false positives a scan": figures["false_positives_per_scan"],
        "FROC score": figures["froc"]["mean"],
    }
    head = (
        f"{figures['scans']} whole scans of {figures['patients']} patients, "
        f"{figures['lesions']} lesions; 95 % intervals"
    )
    if figures["empty_scans"]:
        head += (
            f"\n  without a lesion, for false positives alone: {figures['empty_scans']} scans, "
            f"something found in {figures['empty_scans_with_finding']}"
        )
    if figures["shared_voxels"]:
        head += (
            f"\n  masks of lesions overlap in {figures['shared_voxels']} voxels, which count to "
            "the smaller one"
        )
    if figures.get("patients_left_out"):
        head += (
            f"\n  left out, since the run has seen them: {figures['patients_left_out']} patients"
        )
    return "\n".join(
        [head, *(f"  {name:<26}{estimate(row)} (n {row['n']})" for name, row in rows.items())]
    )
