"""The classifier's scores of the lesions of a scan, by who drew their regions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dtc_jax.evaluation import reference_scan
from dtc_jax.imaging import lesions, perturb
from dtc_jax.imaging.perturb import Perturbation
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference import second_look
from dtc_jax.inference.classify import Classifier, classify
from dtc_jax.inference.segment import Segmenter


def of_scan(
    segmenter: Segmenter,
    classifier: Classifier,
    rows: pd.DataFrame,
    spec: Perturbation,
    seed: int,
    candidates: Classifier | None = None,
) -> dict[str, pd.DataFrame]:
    """Segments a scan, and classifies its lesions in their manual, automatic and perturbed regions.

    Args:
      segmenter, classifier: trained without the scan's patient.
      rows: of the manifest, the lesions of the scan.
      spec: of the perturbed regions.
      seed: of the same; the rest of what is drawn depends on the lesion's id alone.
      candidates: drops what is probably no lesion from what was found; None: the segmenter's
        `lesion_threshold` does, if it has one.

    Returns:
      The tables of `statistics.detection`. Their `lesions` have in addition the scores `manual`,
      `perturbed` and `automatic`, and `dice_perturbed` and `dice_automatic`, of the very regions
      that were classified; the last of each is NaN where the lesion was missed. Their `candidates`
      have `probability`.
    """
    scan = reference_scan.read(rows)
    found = reference_scan.find(segmenter, scan)
    found = second_look.without_false_findings(segmenter, candidates, scan.image, found)
    tables = reference_scan.compare(found, scan)
    moved = _perturbed(scan.truth, scan.lesion_ids, spec, seed)
    manual, perturbed, automatic = (
        {lesion.lesion_id: lesion.probability for lesion in classify(classifier, scan.image, mask)}
        for mask in (scan.truth, moved, found.mask)
    )
    tables["candidates"]["probability"] = tables["candidates"].lesion_id.map(automatic)
    numbers = pd.Series(range(1, len(scan.lesion_ids) + 1), scan.lesion_ids)
    number = tables["lesions"].lesion_id.map(numbers)
    drawn = _overlaps(scan.truth.array, moved.array, found.mask.array).reindex(number)
    drawn.index = number.index
    is_found = tables["lesions"].is_found
    tables["lesions"] = tables["lesions"].assign(
        manual=number.map(manual).astype(float),
        perturbed=number.map(perturbed).astype(float),
        automatic=drawn.partner.map(automatic).astype(float).where(is_found),
        dice_perturbed=drawn.dice_perturbed,
        dice_automatic=drawn.dice_automatic.where(is_found),
    )
    return tables


def _perturbed(truth: Volume, lesion_ids: Sequence[str], spec: Perturbation, seed: int) -> Volume:
    """The instance mask with each region perturbed; where two meet, the later one stays."""
    array = np.zeros_like(truth.array)
    margin = spec.margin(truth.spacing_mm)
    for number, inside in lesions.numbered(truth.array):
        box = lesions.padded(inside, margin, truth.shape)
        around = truth.part(box)
        rng = np.random.default_rng([seed, *lesion_ids[number - 1].encode()])
        region = perturb.perturbed(Volume(around.array == number, around.affine), spec, rng)
        array[box][region.array] = number
    return Volume(array, truth.affine)


def _overlaps(truth: np.ndarray, moved: np.ndarray, found: np.ndarray) -> pd.DataFrame:
    """How far the other regions of each true lesion agree with it, by the lesion's number.

    Returns:
      `dice_perturbed`; `partner`, the found lesion that shares most voxels with it, 0 where none
      does; and `dice_automatic`, of that one, 0 where there is none.
    """
    least = int(truth.max()) + 1
    of_moved, of_found = (np.bincount(mask[mask > 0], minlength=least) for mask in (moved, found))
    rows = {}
    for number, box in lesions.numbered(truth):
        lesion = truth[box] == number
        size = lesion.sum()
        kept = (moved[box][lesion] == number).sum()
        shared = np.bincount(found[box][lesion], minlength=1)
        shared[0] = 0
        partner = int(shared.argmax())  # 0 where all are 0
        rows[number] = (
            2 * kept / (size + of_moved[number]),
            partner,
            2 * shared[partner] / (size + of_found[partner]),
        )
    columns = ["dice_perturbed", "partner", "dice_automatic"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
