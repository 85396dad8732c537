"""The fields of a configuration by their full names, and which of them decide what."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import ml_collections

# Of whole scans, and which of them decide what is found there, and so which hard negatives are
# collected. Otherwise they affect neither training nor its figures.
OF_FINDINGS = ("predict.overlap", "predict.connectivity", "predict.min_volume_mm3")
OF_SCANS = (*OF_FINDINGS, "predict.lesion_threshold")
# How, not what, to compute: they may change when a run is resumed.
FREE = (
    *("data.about", "data.cache", "data.folder", "data.on_device", "data.workers", "split.file"),
    *("parallel", "train.log_every_steps", "train.profile_steps", "train.tracker"),
    *("model.remat", "write_report"),
    *OF_SCANS,
    *("report.patient_truth", "report.diameter_rounding", "report.margin"),
)
# Fields that came later, with the value that does what was done before. They count only where they
# have another one, so that answers of earlier runs stay those of the same network.
LATER: dict[str, Any] = {
    "augment.resettle": 0.0,
    "augment.thick_slices": 0.0,
    "augment.thickest_mm": 5.0,
    "augment.noise_grain_mm": 0.0,
    "augment.softer_mm": 0.0,
    "augment.sharper": 0.0,
    "augment.elastic_mm": 0.0,
    "augment.cutout": 0.0,
    "augment.cutout_mm": 16.0,
    "augment.mixup": 0.0,
    "loss.unlabelled": False,
    "model.stochastic_depth": 0.0,
    "predict.lesion_threshold": 0.0,
    "temperature": "none",
    "train.keep": "best",
    "train.snapshots": 1,
}
_WHERE = (
    "data.manifest",
    "data.npz",
    "init_from",
)  # where the data are; what they are is bound by their hashes


def plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The configuration as config.json has it: tuples are lists."""
    return json.loads(json.dumps(config.to_dict()))


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Full names and values, `model.width` and 64."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def free(variants: Iterable[ml_collections.ConfigDict]) -> set[str]:
    """The fields that may change when a run is resumed: not those that decide what is learned.

    Args:
      variants: the configurations of all its candidates, see `inputs.variants`.
    """
    rounds = (dict(flat(plain(one))).get("train.hard_negatives.rounds") for one in variants)
    return {*FREE} - {*(OF_FINDINGS if any(rounds) else ())}


def essence(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields that decide what is computed from a scan."""
    left_out = {*FREE, *_WHERE} - {*OF_SCANS}
    fields = dict(flat(plain(config)))
    return {
        name: value
        for name, value in fields.items()
        if name not in left_out and not (name in LATER and value == LATER[name])
    }
