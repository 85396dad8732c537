"""A segmenter evaluated on whole scans: which lesions it finds, and what it finds besides."""

import dataclasses
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax import storage
from dtc_jax.cohort import manifest, persons
from dtc_jax.errors import InputError
from dtc_jax.evaluation import reference_scan, scan_cache
from dtc_jax.imaging import volume
from dtc_jax.imaging.outlined import Outlined, largest_slice
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.classify import Classifier
from dtc_jax.inference.second_look import probabilities
from dtc_jax.inference.segment import Segmenter
from dtc_jax.networks.segmenter import make_segmenter
from dtc_jax.report import drawing, outlines
from dtc_jax.statistics import detection
from dtc_jax.statistics.formatting import estimate
from dtc_jax.tasks import sources
from dtc_jax.tasks.trained import TrainedNetwork

_PICTURE = 4.3  # inches
_MASK, _FIGURE = "found.nii.gz", "slice"  # of a cached scan
FOLDER, CACHE = "scans", "judged"  # of a run
_SEEN = ("train", "validation")  # the network was trained or chosen on them


@dataclasses.dataclass(frozen=True)
class SecondLook:
    """Networks that tell lesions from false candidates, see `tasks.candidates`.

    Attributes:
      classifiers: one a fold, with its own threshold.
      splits: patient_id and split of what each was given.
    """

    classifiers: Sequence[Classifier]
    splits: Sequence[pd.DataFrame]

    def fingerprint(self, number: int) -> Any:
        """Of what one of them gives, as JSON values."""
        classifier = self.classifiers[number]
        return [classifier.fingerprints, classifier.threshold]


def evaluate(
    network: TrainedNetwork,
    splits: Sequence[pd.DataFrame],
    path: storage.PathLike,
    workdir: pathlib.Path,
    second_look: SecondLook | None = None,
) -> dict[str, Any]:
    """Segments the scans of a manifest whose patients a network has not seen, and evaluates it.

    Writes scans.csv, lesions.csv (the reference ones), candidates.csv (the found ones),
    metrics.json, masks/, which number the found lesions, and figures/, a slice of each scan, into
    `workdir`/scans, or scans-candidates with a second look, which they replace once all of them are
    there, and prints the figures. What is done of a stopped call is cached in `workdir`/judged, or
    judged-candidates; the same call goes on with it.

    Args:
      network: of the run, with a member a fold.
      splits: patient_id and split of what each member was given.
      path: of the manifest; every lesion of its scans has a row, whatever is known of its label. A
        row with neither lesion_id nor mask is a scan without a lesion. Its column `lungs` names
        masks of the lungs, where they are not to be found; findings in what `ignore` names count
        neither way; a lesion known by `box_mm` alone is found if the middle of a finding lies in
        it.
      workdir: of the run.
      second_look: at each finding; its probability is then the score of the findings, and the
        figures have `at_threshold` in addition, of those that it keeps. So have they where
        `config.predict.lesion_threshold` decides on the findings.

    Returns:
      The figures of metrics.json.

    Raises:
      InputError: see the manifest and the scans; or all its patients were seen.
    """
    table = manifest.read_manifest(path, healthy=True)
    blind = _first_blind(splits, table)
    looks = _first_blind(second_look.splits, table) if second_look else blind
    blind = {patient: number for patient, number in blind.items() if patient in looks}
    unseen = table[table.patient_id.isin(blind)]
    if unseen.empty:
        raise InputError(
            f"{path}: the run has seen all of its {table.patient_id.nunique()} patients in "
            "training or validation; give scans of other patients."
        )
    members = [network.member(number) for number in range(len(network.members))]
    segmenters = [make_segmenter(member) for member in members]
    threshold = segmenters[0].instances.lesion_threshold
    # It changes no finding, so what is cached does not depend on it.
    found_by = [_without_threshold(member).fingerprints for member in members]

    def depends_on(rows: pd.DataFrame) -> Any:
        patient = rows.patient_id.iloc[0]
        own = found_by[blind[patient]]
        return [own, second_look.fingerprint(looks[patient])] if second_look else own

    def evaluate_scan(rows: pd.DataFrame, partial: pathlib.Path) -> dict[str, pd.DataFrame]:
        patient = rows.patient_id.iloc[0]
        look = second_look.classifiers[looks[patient]] if second_look else None
        return _evaluate(segmenters[blind[patient]], look, rows, partial)

    hashes = sources.file_hashes(network.config)
    suffix = "-candidates" if second_look else ""  # what candidates were learned from stays
    home = workdir / f"{CACHE}{suffix}"
    cached = scan_cache.evaluated(unseen, home, hashes, depends_on, evaluate_scan)
    with cached as folders, storage.atomic_folder(workdir / f"{FOLDER}{suffix}") as partial:
        tables = scan_cache.gather(folders)
        if second_look is None and threshold > 0:
            for name in ("lesions", "candidates"):
                tables[name]["threshold"] = threshold
        _put_together(folders, partial)
        for kind, part in tables.items():
            storage.write_table(partial / f"{kind}.csv", part)
        figures = figures_of(tables)
        figures["networks"] = [member.fingerprints for member in members]
        figures["patients_left_out"] = int(table.patient_id.nunique() - len(blind))
        storage.write_json(partial / "metrics.json", figures)
    print(summary(figures))
    return figures


def read(workdir: pathlib.Path) -> dict[str, pd.DataFrame]:
    """The tables of an evaluated run, see `statistics.detection`: their rows of whole scans."""
    return without_cubes(scan_cache.read(workdir / FOLDER))


def _without_threshold(network: TrainedNetwork) -> TrainedNetwork:
    """`network` without its `lesion_threshold`."""
    (member,) = network.members
    config = member.config.copy_and_resolve_references().unlock()
    config.predict.lesion_threshold = 0.0
    return dataclasses.replace(network, members=(dataclasses.replace(member, config=config),))


def figures_of(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """The figures of metrics.json that follow from the tables.

    Args:
      tables: see `statistics.detection`; the scans with view and shared_voxels, and lesions and
        candidates with threshold where one decides on the findings.
    """
    whole = without_cubes(tables)
    figures = detection.detection(**whole)
    figures["cubes"] = len(tables["scans"]) - len(whole["scans"])
    if "threshold" in whole["candidates"]:
        figures["at_threshold"] = detection.at_threshold(**whole)
    figures["shared_voxels"] = int(tables["scans"].shared_voxels.sum())
    return figures


def _evaluate(
    segmenter: Segmenter, look: Classifier | None, rows: pd.DataFrame, folder: pathlib.Path
) -> dict[str, pd.DataFrame]:
    """The tables of a scan; writes the mask of what was found in it, and a picture."""
    scan = reference_scan.read(rows)
    found = reference_scan.find(segmenter, scan)
    volume.write(folder / _MASK, found.mask)
    _picture(scan.image, found.mask, scan.truth, folder / _FIGURE)
    if look is None:
        return reference_scan.compare(found, scan)
    tables = reference_scan.compare(found, scan, probabilities(look, scan.image, found.mask))
    for name in ("lesions", "candidates"):
        tables[name]["threshold"] = look.threshold
    return tables


def _put_together(cached: Sequence[pathlib.Path], folder: pathlib.Path) -> None:
    """Copies the masks and the pictures of all scans into masks/ and figures/."""
    for name in ("masks", "figures"):
        (folder / name).mkdir()
    for number, scan in enumerate(cached):
        name = scan_cache.scan_id(number)
        shutil.copyfile(scan / _MASK, folder / "masks" / f"{name}.nii.gz")
        for suffix in (".png", ".svg"):
            shutil.copyfile(scan / f"{_FIGURE}{suffix}", folder / "figures" / f"{name}{suffix}")


def without_cubes(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The rows of whole scans: a cube shows no lungs to find anything wrong in.

    Where there are only cubes, all rows.
    """
    scans = tables["scans"]
    whole = scans.scan_id[scans["view"] == "scan"]
    if whole.empty:
        return tables
    return {kind: table[table.scan_id.isin(whole)] for kind, table in tables.items()}


def _first_blind(splits: Sequence[pd.DataFrame], table: pd.DataFrame) -> dict[str, int]:
    """The first network for each patient that has not seen the person, if there is one."""
    seen = [persons.ids(rows[rows.split.isin(_SEEN)]) for rows in splits]
    blind = {
        patient: [i for i, ids in enumerate(seen) if not persons.in_common(persons.ids(rows), ids)]
        for patient, rows in table.groupby("patient_id", sort=False)
    }
    return {patient: numbers[0] for patient, numbers in blind.items() if numbers}


def _picture(image: Volume, found: Volume, truth: Volume, path: pathlib.Path) -> None:
    """Draws the axial slice that shows most of the true lesions."""
    z = largest_slice(truth.array > 0)
    _, height, width = image.spacing_mm
    side = (float(height), float(width))
    title = f"slice {z}, {len(np.unique(found.array[z])) - 1} found"
    shown = Outlined(image.array[z], found.array[z] > 0, truth.array[z] > 0, side, title)
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
        **{
            f"  at {point['false_positives_per_scan']:g} false ones a scan": point
            for point in figures["froc"]["points"]
            if point["false_positives_per_scan"] >= 1
        },
    }
    for name, row in figures.get("at_threshold", {}).items():
        rows[f"  at the lesion threshold: {name.replace('_', ' ')}"] = row
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
    if figures.get("cubes"):
        head += f"\n  cubes, which count in the tables alone: {figures['cubes']}"
    if figures.get("patients_left_out"):
        head += (
            f"\n  left out, since the run has seen them: {figures['patients_left_out']} patients"
        )
    return "\n".join(
        [
            head,
            *(
                f"  {name:<52}{estimate(row)} (n {row['n']}){_limit(row)}"
                for name, row in rows.items()
            ),
        ]
    )


def _limit(row: dict[str, Any]) -> str:
    """The score that a finding needs at this point of the FROC, if it is one."""
    return f", from a score of {row['threshold']}" if row.get("threshold") else ""
