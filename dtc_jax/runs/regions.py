"""What the classifier says of the lesions of a scan, by who drew their regions."""

import numpy as np
import pandas as pd

from dtc_jax.imaging import perturb
from dtc_jax.imaging.perturb import Perturbation
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference.classify import Classifier, classify
from dtc_jax.inference.segment import Segmenter
from dtc_jax.runs import whole_scans


def of_scan(
    segmenter: Segmenter, classifier: Classifier, rows: pd.DataFrame, spec: Perturbation, seed: int
) -> dict[str, pd.DataFrame]:
    """Segments a scan, and classifies its lesions in their manual, automatic and perturbed regions.

    Args:
      segmenter, classifier: trained without the scan's patient.
      rows: of the manifest, the lesions of the scan.
      spec: of the perturbed regions.
      seed: of the same; the rest of what is drawn hangs on the lesion's id alone.

    Returns:
      The tables of `statistics.detection`. Their `lesions` have in addition the scores `manual`,
      `perturbed` and `automatic`, and `dice_perturbed` and `dice_automatic`, of the very regions
      that were classified; the last of each is NaN where the lesion was missed. Their `candidates`
      have `probability`.
    """
    image, truth = whole_scans.read(rows)
    found = whole_scans.find(segmenter, image, rows)
    tables = whole_scans.compare(found, truth, rows)
    moved = _perturbed(truth, rows, spec, seed)
    manual, perturbed, automatic = (
        {one.lesion_id: one.probability for one in classify(classifier, image, mask)}
        for mask in (truth, moved, found.mask)
    )
    tables["candidates"]["probability"] = tables["candidates"].lesion_id.map(automatic)
    numbers = pd.Series(range(1, len(rows) + 1), rows.lesion_id.to_numpy())
    own = tables["lesions"].lesion_id.map(numbers)
    partners = own.map(lambda number: _partner(found.mask.array, truth.array == number))
    tables["lesions"] = tables["lesions"].assign(
        manual=own.map(manual),
        perturbed=own.map(perturbed),
        automatic=partners.map(automatic).where(tables["lesions"].is_found),
        dice_perturbed=own.map(lambda n: _dice(moved.array == n, truth.array == n)),
        dice_automatic=pd.Series(
            [
                _dice(found.mask.array == partner, truth.array == number)
                for partner, number in zip(partners, own, strict=True)
            ],
            tables["lesions"].index,
            dtype=float,
        ).where(tables["lesions"].is_found),
    )
    return tables


def _perturbed(truth: Volume, rows: pd.DataFrame, spec: Perturbation, seed: int) -> Volume:
    """The instance mask with each region perturbed; where two meet, the later one stays."""
    array = np.zeros_like(truth.array)
    for number, lesion_id in enumerate(rows.lesion_id, start=1):
        own = Volume(truth.array == number, truth.affine)
        if own.array.any():
            rng = np.random.default_rng([seed, *str(lesion_id).encode()])
            array[perturb.perturbed(own, spec, rng).array] = number
    return Volume(array, truth.affine)


def _partner(found: np.ndarray, lesion: np.ndarray) -> int:
    """The found lesion that shares most voxels with a true one; 0 where none does."""
    counts = np.bincount(found[lesion], minlength=1)
    counts[0] = 0
    return int(counts.argmax()) if counts.any() else 0


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))
