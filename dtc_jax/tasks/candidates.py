"""A second look at what a segmenter has found: SE-Net tells nodules from false candidates.

Its examples are the findings of `--mode=evaluate --scans` of the segmenter's run: each was found by
a network that had not seen the scan's patient, and is right or wrong by the reference masks. Where
that run is a cross-validation, its folds are those here, so that neither network has seen whom both
are tested on.
"""

import dataclasses

import ml_collections

from dtc_jax.errors import UsageError
from dtc_jax.tasks import candidate_data, candidate_figures, classification, ratings
from dtc_jax.tasks.definition import Words


def check(config: ml_collections.ConfigDict) -> None:
    """Raises UsageError if config.loss or .threshold has an impossible value."""
    if ratings.learns_unlabelled(config):  # before advice on how to use it
        raise UsageError("config.loss.unlabelled must be False: every candidate has a label.")
    ratings.check(config)
    candidate_figures.parse(config.threshold)


DEFINITION = dataclasses.replace(
    classification.DEFINITION,
    words=Words("a second look at candidates", "--candidates", "SE-Net", "configs/candidates.py"),
    check=check,
    load=candidate_data.load,
    split=candidate_data.split,
    evaluate=candidate_figures.evaluate,
    select=lambda config, lesions: lesions,
)
