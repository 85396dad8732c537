"""The fields of a configuration by their full names, and which of them decide what."""

import json
from collections.abc import Iterator
from typing import Any

import ml_collections

# Of whole scans: they affect neither training nor its figures.
OF_SCANS = (
    *("predict.overlap", "predict.connectivity", "predict.min_volume_mm3"),
    "predict.lesion_threshold",
)
# How, not what, to compute: they may change when a run is resumed.
FREE = (
    *("data.about", "data.cache", "data.folder", "data.workers", "split.file"),
    *("parallel", "train.log_every_steps", "train.profile_steps", "train.tracker"),
    *("model.remat", "write_report"),
    *OF_SCANS,
    *("report.patient_truth", "report.diameter_rounding", "report.margin"),
)
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


def essence(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields that decide what is computed from a scan."""
    left_out = {*FREE, *_WHERE} - {*OF_SCANS}
    fields = dict(flat(plain(config)))
    return {name: value for name, value in fields.items() if name not in left_out}
