"""Both networks on the scans of the test: what errors of the segmenter cost the classifier.

The segmenter proposes regions, the classifier decides on them. If each had its own split, the
classifier would be evaluated on regions of patients whom the segmenter was trained on, which are
better than those of new patients. Here neither network has seen a patient of the test.
"""

import dataclasses
import pathlib
from typing import Any

import pandas as pd

from dtc_jax.evaluation import cascade_figures, regions, scan_cache
from dtc_jax.imaging.perturb import Perturbation
from dtc_jax.networks.classifier import make_classifier
from dtc_jax.networks.segmenter import make_segmenter
from dtc_jax.tasks import sources
from dtc_jax.tasks.trained import TrainedNetwork

_COLUMNS = ("patient_id", "lesion_id", "cohort", "label", "fold")


def evaluate(
    networks: dict[str, TrainedNetwork],
    scans: pd.DataFrame,
    rows: pd.DataFrame,
    perturbation: Perturbation,
    seed: int,
    cache: pathlib.Path,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Follows each lesion of the test from detection to decision.

    Args:
      networks: 'segmenter' and 'classifier', the latter with its threshold, each of one member;
        and 'candidates' with its threshold, where there is a second look at what is found.
      scans: rows of the manifest, of all patients of the test.
      rows: the classifier's lesions with their split.
      perturbation: of the perturbed regions.
      seed: of the same.
      cache: folder of the scans that are done; a stopped call goes on with them.

    Returns:
      The lesions with the scores of their regions, and JSON values: networks, mask,
      lesions_left_out, cohorts and perturbation.
    """
    segmenter, classifier = networks["segmenter"], networks["classifier"]
    threshold = classifier.threshold
    assert threshold is not None
    fingerprints = {name: network.fingerprints for name, network in networks.items()}
    finder, decider = make_segmenter(segmenter), make_classifier(classifier)
    look = make_classifier(networks["candidates"]) if "candidates" in networks else None
    depends_on: dict[str, Any] = {
        "networks": list(fingerprints.values()),
        **({"threshold": look.threshold} if look else {}),
        "perturbation": dataclasses.asdict(perturbation),
        "seed": seed,
    }
    cached = scan_cache.evaluated(
        scans,
        cache,
        sources.file_hashes(segmenter.config),
        lambda _: depends_on,
        lambda of_scan, _: regions.of_scan(finder, decider, of_scan, perturbation, seed, look),
    )
    with cached as folders:
        tables = scan_cache.gather(folders)
    tested = rows.loc[rows.split == "test", list(_COLUMNS)]
    lesions = _joined(tables["lesions"], tested, threshold)
    return lesions, {
        "networks": fingerprints,
        "mask": classifier.config.preprocess.mask,
        "lesions_left_out": len(tested) - len(lesions),
        "cohorts": cascade_figures.by_cohort(lesions, tables, scans, threshold),
        "perturbation": dataclasses.asdict(perturbation),
    }


def _joined(lesions: pd.DataFrame, tested: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """The tested lesions with the scores of their regions, and the threshold of the decision.

    A lesion whose region is inside another one's has no region of its own: it is left out.
    """
    scored = lesions.drop(columns=["patient_id", "scan_id"]).dropna(subset=["manual", "perturbed"])
    table = tested.merge(scored, on="lesion_id", validate="one_to_one")
    return table.assign(threshold=threshold, label=table.label.astype(int))
