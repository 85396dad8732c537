"""From a scan to crops, beside SimpleITK, TorchIO and MONAI, on one core.

    python -m benchmarks.preprocessing [--stages=resampling,crops,lungs] [--repeats=5] [--scans=3]
      [--shape=300,512,512]

- `resampling`: a drawn scan of 1.0 x 0.7 x 0.7 mm to 1 mm. By linear interpolation alone, and with
  a Gaussian before it against aliasing: ours and TorchIO's have the width that the new spacing adds
  (Cardoso et al. 2015), SimpleITK's DiscreteGaussian is given the same. MONAI's Spacing has none.
- `crops`: all lesions of each of some scans of the phantom of a clinical size, from NIfTI files to
  40 x 40 x 40 voxels of 1 mm about their middle, with masks. TorchIO and MONAI read and resample a
  scan once and cut from that.
- `lungs`: seconds a chest of our lung field, on the same scans; and where DTC_JAX_DATA names the
  folder of the real data, on its chests. It has no peer here that finds lungs without a network.

Peers that are not installed are left out. All take turns with one thread each; run it under
`taskset -c 0`. Printed are medians by the clock and of the CPU, and the ratio of the latter to ours
(above 1, ours is faster). Ten minutes.
"""

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks import lung_field, turns
from dtc_jax.cohort import manifest, phantom
from dtc_jax.crops import extraction, record
from dtc_jax.imaging import lungs, resample, volume
from dtc_jax.imaging.volume import Volume

_SPACING_MM = (1.0, 0.7, 0.7)
_SIDES = (40, 40, 40)
_PEERS = {"SimpleITK": "SimpleITK", "torchio": "TorchIO", "monai": "MONAI"}


def main() -> None:
    """Prints a table for each stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", default="resampling,crops,lungs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scans", type=int, default=3)
    parser.add_argument("--shape", default="300,512,512")
    flags = parser.parse_args()
    peers = {name: importlib.import_module(name) for name in _PEERS if _is_installed(name)}
    if "torchio" in peers or "monai" in peers:
        importlib.import_module("torch").set_num_threads(1)
    if "SimpleITK" in peers:
        peers["SimpleITK"].ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    print(f"{turns.machine(*_PEERS)}; medians of {flags.repeats}", flush=True)
    stages, choices = flags.stages.split(","), ("resampling", "crops", "lungs")
    if wrong := set(stages) - set(choices):
        parser.error(f"--stages: there is no {min(wrong)!r}; choose from {', '.join(choices)}.")
    if "resampling" in stages:
        scan = drawn(tuple(int(n) for n in flags.shape.split(",")))
        print(f"resampling of {' x '.join(map(str, scan.shape))} voxels, seconds a scan")
        for calls in (_linear(scan, peers), _antialiased(scan, peers)):
            _print(calls, flags.repeats, 1)
    if {"crops", "lungs"} & set(stages):
        with tempfile.TemporaryDirectory(prefix="preprocessing-") as folder:
            _on_scans(pathlib.Path(folder), flags.scans, stages, peers, flags.repeats)


def _is_installed(name: str) -> bool:
    return not turns.lacking(name)


def drawn(shape: tuple[int, ...]) -> Volume:
    """A body with two lungs and balls in them, and noise. # [Z, Y, X] int16"""
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    hu = np.full(shape, -1000, np.float32)
    hu[np.broadcast_to((y / 0.7) ** 2 + (x / 0.9) ** 2 < 1, shape)] = 40
    for side in (-0.4, 0.4):
        hu[(z / 0.9) ** 2 + (y / 0.5) ** 2 + ((x - side) / 0.3) ** 2 < 1] = -850
        hu[(z / 0.1) ** 2 + (y / 0.06) ** 2 + ((x - side) / 0.06) ** 2 < 1] = 30
    hu += 20 * rng.standard_normal(shape, np.float32)
    affine = np.zeros((4, 4))
    affine[[0, 1, 2, 3], [2, 1, 0, 3]] = (*reversed(_SPACING_MM), 1.0)  # of (z, y, x) in RAS
    return Volume(hu.astype(np.int16), affine)


def _print(calls: dict[str, Callable[[], object]], repeats: int, count: int) -> None:
    """Lets the calls take turns. count: of the things that each works on."""
    timed = {name: lambda call=call: turns.timed(call) for name, call in calls.items()}
    medians = turns.in_turns(timed, repeats)
    ours = next(iter(medians.values()))
    for name, seconds in medians.items():
        print(
            f"  {name:<44}{seconds.wall / count:9.3f} s{seconds.cpu / count:9.3f} s CPU"
            f"{count / seconds.cpu:9.1f} a second and core   x {seconds.cpu / ours.cpu:.2f}",
            flush=True,
        )


def _linear(scan: Volume, peers: dict[str, Any]) -> dict[str, Callable[[], object]]:
    calls: dict[str, Callable[[], object]] = {
        "linear: ours": lambda: resample.resample(scan).array,
    }
    if sitk := peers.get("SimpleITK"):
        image, grid = _sitk_image(sitk, scan), _sitk_grid(sitk, scan)
        calls["linear: SimpleITK Resample"] = lambda: sitk.Resample(
            image, grid, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32
        )
        away = sitk.GetArrayFromImage(calls["linear: SimpleITK Resample"]())
        away = np.abs(away - resample.resample(scan).array)[2:-2, 2:-2, 2:-2]
        print(f"  SimpleITK's voxels are within {away.max():.2g} HU of ours, edges aside")
    if tio := peers.get("torchio"):
        image_tio = _tio_image(tio, scan)
        calls["linear: TorchIO Resample"] = lambda: tio.Resample(1.0)(image_tio).data
    if monai := peers.get("monai"):
        array = _monai_array(monai, scan)
        spacing = monai.transforms.Spacing((1.0,) * 3, mode="bilinear", dtype=np.float32)
        calls["linear: MONAI Spacing"] = lambda: spacing(array)
    return calls


def _antialiased(scan: Volume, peers: dict[str, Any]) -> dict[str, Callable[[], object]]:
    calls: dict[str, Callable[[], object]] = {
        "Gaussian, linear: ours": lambda: resample.resample(scan, antialias=True).array,
    }
    if sitk := peers.get("SimpleITK"):
        image, grid = _sitk_image(sitk, scan), _sitk_grid(sitk, scan)
        # mm²; an axis that gets no coarser is left as it is.
        variance = [max(1 - s**2, 0) / (8 * np.log(2)) for s in reversed(_SPACING_MM)]
        calls["Gaussian, linear: SimpleITK"] = lambda: sitk.Resample(
            sitk.DiscreteGaussian(sitk.Cast(image, sitk.sitkFloat32), variance),
            grid,
            sitk.Transform(),
            sitk.sitkLinear,
        )
    if tio := peers.get("torchio"):
        image_tio = _tio_image(tio, scan)
        smooth = tio.Resample(1.0, antialias=True)
        calls["Gaussian, linear: TorchIO Resample"] = lambda: smooth(image_tio).data
    return calls


def _sitk_image(sitk: Any, scan: Volume) -> Any:
    image = sitk.GetImageFromArray(scan.array)
    image.SetSpacing(scan.spacing_mm[::-1].tolist())
    return image


def _sitk_grid(sitk: Any, scan: Volume) -> Any:
    """Our grid of 1 mm, which keeps the middle in place."""
    shape = resample.resample(Volume(np.zeros(scan.shape, bool), scan.affine)).shape
    sides_mm = (np.array(scan.shape) - 1) * scan.spacing_mm
    grid = sitk.Image([int(n) for n in reversed(shape)], sitk.sitkUInt8)
    grid.SetOrigin((sides_mm / 2 - (np.array(shape) - 1) / 2)[::-1].tolist())
    return grid


def _tio_image(tio: Any, scan: Volume) -> Any:
    affine = np.diag([*scan.spacing_mm[::-1], 1.0])
    return tio.ScalarImage(tensor=np.ascontiguousarray(scan.array.T[None]), affine=affine)


def _monai_array(monai: Any, scan: Volume) -> Any:
    affine = np.diag([*scan.spacing_mm[::-1], 1.0])
    data = monai.data.MetaTensor(np.ascontiguousarray(scan.array.T[None], np.float32))
    data.affine = importlib.import_module("torch").as_tensor(affine)
    return data


def _on_scans(
    folder: pathlib.Path, count: int, stages: list[str], peers: dict[str, Any], repeats: int
) -> None:
    """The stages crops and lungs."""
    spec = phantom.PhantomSpec(
        patients=count,
        external_patients=0,
        matrix=(160, 320, 400),
        spacing_mm=(1.25, 0.8, 0.8),
    )
    table = manifest.read_manifest(phantom.generate_in(folder, spec))
    scans = extraction.scans(table)
    if "crops" in stages:
        number = sum(map(len, scans))
        params = record.CropParams(_SIDES)
        calls: dict[str, Callable[[], object]] = {
            "crops: ours": lambda: [extraction.cut_scan(scan, params) for scan in scans]
        }
        if tio := peers.get("torchio"):
            calls["crops: TorchIO"] = lambda: [_tio_crops(tio, scan) for scan in scans]
        if monai := peers.get("monai"):
            calls["crops: MONAI"] = lambda: [_monai_crops(monai, scan) for scan in scans]
        print(f"{number} crops of {len(scans)} scans, seconds a crop")
        _print(calls, repeats, number)
    if "lungs" in stages:
        _lungs({"a scan of the phantom": [scan.image for scan in scans]} | _chests(), repeats)


def _tio_crops(tio: Any, scan: extraction.Scan) -> list[Any]:
    """Of a scan whose lesions share an instance mask."""
    subject = tio.Subject(
        image=tio.ScalarImage(scan.image), lesions=tio.LabelMap(scan.lesions[0].mask)
    )
    subject = tio.Resample(1.0)(subject)
    crops = []
    for lesion in scan.lesions:
        own = tio.Subject(
            image=subject.image,
            lesion=tio.LabelMap(
                tensor=subject.lesions.data == lesion.mask_label, affine=subject.lesions.affine
            ),
        )
        crop = tio.CropOrPad(_SIDES[::-1], mask_name="lesion")(own)
        crops.append((crop.image.data, crop.lesion.data))
    return crops


def _monai_crops(monai: Any, scan: extraction.Scan) -> list[Any]:
    """Of a scan whose lesions share an instance mask."""
    t = monai.transforms
    read = t.LoadImage(ensure_channel_first=True)
    pixel = t.Spacing((1.0,) * 3, mode="bilinear", dtype=np.float32)
    label = t.Spacing((1.0,) * 3, mode="nearest", dtype=np.float32)
    image, mask = pixel(read(scan.image)), label(read(scan.lesions[0].mask))
    crops = []
    whole = t.ResizeWithPadOrCrop(_SIDES[::-1], mode="edge")
    boxes = ndimage.find_objects(mask[0].numpy().astype(int))
    for lesion in scan.lesions:
        box = boxes[(lesion.mask_label or 1) - 1]
        if box is None:  # fell between the voxels
            continue
        middle = [(side.start + side.stop) // 2 for side in box]
        cut = t.SpatialCrop(roi_center=middle, roi_size=_SIDES[::-1])
        crops.append((whole(cut(image)), whole(cut(mask == lesion.mask_label))))
    return crops


def _chests() -> dict[str, list[str]]:
    """The real chests, where there are any."""
    if "DTC_JAX_DATA" not in os.environ:
        return {}
    folder = pathlib.Path(os.environ["DTC_JAX_DATA"])
    return {pathlib.Path(name).name: [f"{folder / name}_ct.nii.gz"] for name in lung_field.SCANS}


def _lungs(scans: dict[str, list[str]], repeats: int) -> None:
    """Seconds a chest; the file has been read before."""
    print("lung field, seconds a chest")
    for name, paths in scans.items():
        images = [volume.read_image(path) for path in paths]
        work = {name: lambda images=images: [lungs.lung_field(image) for image in images]}
        _print(work, repeats, len(images))


if __name__ == "__main__":
    main()
