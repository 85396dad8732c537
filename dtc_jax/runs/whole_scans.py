"""A segmentation run judged on whole scans: which lesions it finds, and what it finds besides."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax import progress, storage
from dtc_jax.cohort import manifest
from dtc_jax.errors import InputError
from dtc_jax.imaging import agreement, volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.segment import Segmentation, Segmenter, make_segmenter, segment
from dtc_jax.report import drawing, outlines
from dtc_jax.runs.fold import Network
from dtc_jax.statistics import detection

_PICTURE = 4.3  # inches
_SEEN = ("train", "validation")  # the network was trained or chosen on them


def judge(
    networks: Sequence[Network],
    splits: Sequence[pd.DataFrame],
    path: storage.PathLike,
    folder: pathlib.Path,
) -> None:
    """Segments the scans of a manifest whose patients a network has not seen, and judges it.

    Writes scans.csv, lesions.csv (the true ones), candidates.csv (the found ones), metrics.json,
    masks/, which number the found lesions, and figures/, a slice of each scan, into `folder`, which
    they replace once all of them are there, and prints the figures.

    Args:
      networks: of the run, one a fold.
      splits: patient_id and split of what each of them was given.
      path: of the manifest; every lesion of its scans has a row, whatever is known of its label. A
        row with neither lesion_id nor mask is a scan without a lesion.
      folder: see above.

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
    groups = kept.groupby("image", sort=False)
    with storage.atomic_folder(folder) as partial:
        figures = _judge_all(groups, judges, segmenters, partial)
        figures["patients_left_out"] = int(table.patient_id.nunique() - len(judges))
        storage.write_json(partial / "metrics.json", figures)
    print(summary(figures))


def _judge_all(
    groups: Any, judges: dict[str, int], segmenters: Sequence[Segmenter], folder: pathlib.Path
) -> dict[str, Any]:
    """Judges each scan of `groups`, writes masks, pictures and tables, and gives the figures."""
    parts: dict[str, list[pd.DataFrame]] = {"scans": [], "lesions": [], "candidates": []}
    for number, (_, rows) in enumerate(progress.track(groups, "scans")):
        patient, name = rows.patient_id.iloc[0], f"scan-{number:03d}"
        image, truth = read(rows)
        found = find(segmenters[judges[patient]], image, rows)
        volume.write(folder / "masks" / f"{name}.nii.gz", found.mask)
        _picture(image, found.mask, truth, folder / "figures" / name)
        for kind, part in compare(found, truth, rows).items():
            part.insert(0, "scan_id", name)
            part.insert(0, "patient_id", patient)
            parts[kind].append(part)
    tables = {kind: pd.concat(found, ignore_index=True) for kind, found in parts.items()}
    for kind, one in tables.items():
        storage.write_table(folder / f"{kind}.csv", one)
    return detection.detection(**tables)


def _judges(splits: Sequence[pd.DataFrame], patients: np.ndarray) -> dict[str, int]:
    """The first network for each patient that has not seen the patient, if there is one."""
    seen = [set(rows.patient_id[rows.split.isin(_SEEN)]) for rows in splits]
    blind = {
        patient: [i for i, ids in enumerate(seen) if patient not in ids] for patient in patients
    }
    return {patient: numbers[0] for patient, numbers in blind.items() if numbers}


def read(rows: pd.DataFrame) -> tuple[Volume, Volume]:
    """The scan of a manifest's `rows`, and the instance mask that numbers them from 1 on."""
    image = volume.read_image(rows.image.iloc[0])
    truth = Volume(np.zeros(image.shape, np.uint16), image.affine)
    for number, row in enumerate(rows.dropna(subset="mask").itertuples(), start=1):
        label = None if np.isnan(row.mask_label) else int(row.mask_label)
        truth.array[volume.read_mask(row.mask, image, label).array] = number
    return image, truth


def find(segmenter: Segmenter, image: Volume, rows: pd.DataFrame) -> Segmentation:
    """`segment`, whose errors name the scan."""
    try:
        return segment(segmenter, image)
    except InputError as error:
        raise InputError(f"{rows.image.iloc[0]}: {error}") from error


def compare(found: Segmentation, truth: Volume, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A scan's part of each table of `statistics.detection`: scans, lesions and candidates."""
    whole = pd.DataFrame([dataclasses.asdict(agreement.agreement(found.mask, truth))])
    scores = found.lesions.set_index("lesion_id").max_probability
    lesions, candidates = agreement.by_lesion(found.mask, truth, scores)
    lesions["lesion_id"] = rows.lesion_id.to_numpy()[lesions.lesion_id - 1]
    measures = found.lesions.drop(columns="max_probability")
    candidates = candidates.merge(measures, on="lesion_id", validate="one_to_one")
    return {"scans": whole, "lesions": lesions, "candidates": candidates}


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
    if figures.get("patients_left_out"):
        head += (
            f"\n  left out, since the run has seen them: {figures['patients_left_out']} patients"
        )
    return "\n".join([head, *(f"  {name:<26}{_estimate(row)}" for name, row in rows.items())])


def _estimate(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return f"n/a (n {row['n']})"
    interval = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f}{interval} (n {row['n']})"
