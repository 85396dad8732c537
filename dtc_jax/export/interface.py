"""What preprocessing.json says: what happens outside the model, for clients in any language."""

from typing import Any

from dtc_jax import versions
from dtc_jax.export.served import BATCH, Array, Served
from dtc_jax.imaging.preprocess import Preprocess
from dtc_jax.networks.segmenter import make_segmenter
from dtc_jax.serving.bundle import FORMAT

_AXES = (
    "z, y, x in C order, of a scan whose voxels are stored so that z rises to the patient's head, "
    "y to the front and x to the right (RAS+ of NIfTI, read as [x, y, z] and transposed); the axes "
    "are the scan's own, so an oblique scan stays oblique"
)
_ROUNDING = "to the nearest whole HU, from a half to the even one, within int16"
_RECORD = {
    "about": "the middle of the bounding box of the lesion's mask: along each axis of the scan's "
    "voxels (first + last) / 2. It comes to lie at index (size - 1) / 2 of the crop",
    "interpolation": "linear, between the centres of the scan's voxels",
    "antialiasing": "none",
    "beyond_the_scan": "its outermost voxels go on",
    "rounding": _ROUNDING,
    "mask": "1 inside the lesion and 0 outside, also in the voxels that would follow beyond the "
    "scan; interpolated linearly, and 1 where that gives mask_from or more: a half is inside, "
    "whatever rounding does. If no voxel is left, the middle one, at index (size - 1) // 2, is set",
    "mask_from": 0.4999,
}
_ANTIALIASING = {
    "gaussian": "along an axis whose voxels are smaller than spacing_mm, linear interpolation's "
    "triangle of base two voxels is convolved with a Gaussian of full width at half maximum "
    "sqrt(spacing_mm^2 - voxel^2), cut off at 4 deviations; its weights are made to sum to 1",
    "none": "none",
}


def describe(
    served: Served, models: dict[str, str], origin: str, precision: dict[str, Any]
) -> dict[str, Any]:
    """The contents of preprocessing.json.

    Args:
      served: the network.
      models: path in the bundle of each format.
      origin: where the threshold is from.
      precision: dtype of the computation, and by how much a probability may differ from the run's.
    """
    network = served.network
    specs = [network.task.make_predict_preprocess(one.config) for one in network.networks]
    unit = "voxel" if served.segments else "example"
    return {
        "format": FORMAT,
        "task": network.config.task,
        "network": network.task.words.network,
        "members": len(network.members),
        "networks": len(network.networks),
        "data_source": network.config.data.source,
        "about": network.config.data.get("about", ""),
        "models": models,
        "inputs": [_array(one) for one in served.inputs],
        "outputs": [_array(one) for one in served.outputs],
        "units": {
            "image": "HU",
            "mask": "1 inside the lesion, 0 outside",
            "probability": f"of the positive class, of each {unit}",
            "heat": "Grad-CAM of the positive class in units of the logit, on the grid of the "
            "input; 0 beyond what the network sees",
        },
        "axes": _AXES,
        "batch": int(network.config.predict.batch_size),
        "before_the_model": _window(served) if served.segments else _crop(served),
        "inside_the_model": [_inside(spec) for spec in specs],
        "mirror_images_inside_the_model": bool(network.config.predict.mirror),
        "temperatures_inside_the_model": [
            one.temperature.value for one in network.members if one.temperature
        ],
        "threshold": {
            "value": served.threshold,
            "positive": "probability >= value",
            "origin": origin,
        },
        "precision": precision,
        "fingerprints": network.fingerprints,
        "versions": versions.installed(),
    }


def _array(one: Array) -> dict[str, Any]:
    return {"name": one.name, "dtype": one.dtype, "shape": [BATCH, *one.shape]}


def _inside(spec: Preprocess) -> dict[str, Any]:
    """What the model does by itself, for information."""
    return {
        "crop_mm": list(spec.crop_mm),
        "spacing_mm": spec.spacing_mm,
        "window_hu": list(spec.window),
        "window_becomes": [0, 1],
        "mask": spec.mask,
    }


def _crop(served: Served) -> dict[str, Any]:
    """How a lesion is cut out of a scan."""
    return {"spacing_mm": 1.0, "size_voxels": list(served.shape), **_RECORD}


def _window(served: Served) -> dict[str, Any]:
    """How a scan is resampled and cut into windows, and what becomes of their probabilities."""
    segmenter = make_segmenter(served.network)
    windows, instances, spec = segmenter.windows, segmenter.instances, segmenter.spec
    return {
        "spacing_mm": spec.spacing_mm,
        "interpolation": "linear, between the centres of the scan's voxels; along each axis the "
        "new grid has round(length / spacing_mm) voxels and the same middle as the scan",
        "antialias": spec.antialias,
        "antialiasing": _ANTIALIASING[spec.antialias],
        "beyond_the_scan": "its outermost voxels go on",
        "rounding": _ROUNDING,
        "lungs": "of the scan; on the new grid a mask is 1 where linear interpolation gives 0.5 or "
        "more",
        "region": "the bounding box of the lungs on the new grid, longer at both ends of an axis "
        "by max(side // 4, (side - length + 1) // 2) voxels, of a window's side and the box's "
        "length, but not beyond the scan",
        "window_voxels": list(windows.window),
        "overlap": windows.overlap,
        "window_starts": "every max(1, round(side * (1 - overlap))) voxels from the first one of "
        "the region; the last window along an axis ends with the region. A region that lacks "
        "voxels for a window gets them from its outermost ones: lack // 2 before, the rest behind",
        "windows": "those with a voxel of the lungs; where there is none, the probability is 0",
        "window_weights": "a voxel's probability is the mean over the windows that it lies in, "
        "weighted by exp(-((i - (n - 1) / 2) / (sigma * n))^2 / 2) along each axis, n being the "
        "window's side, divided by its largest value and at least 0.001",
        "sigma": windows.sigma,
        "after_the_windows": "the probability is interpolated linearly on the scan's own grid and "
        "cut at the threshold; connected pieces are lesions",
        "connectivity": instances.connectivity,
        "least_volume_mm3": instances.min_volume_mm3,
        "least_share_inside_the_lungs": instances.min_inside,
        "lesion_threshold": instances.lesion_threshold,
        "below_the_lesion_threshold": "a piece whose highest probability is lower is a finding, "
        "but probably no lesion",
    }
