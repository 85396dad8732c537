"""The memory of segmenting a whole CT from its file, beside MONAI's own pieces put together.

    python -m benchmarks.whole_ct_memory [--shape Z Y X] [--window N] [--widths 4 8]

A drawn chest of 300 x 512 x 512 voxels as NIfTI is read, resampled to 1 mm, segmented in windows
that overlap by half, resampled back to its own grid, and cut into lesions: by `inference.segment`
in the lungs alone, by the same in the whole scan, and by MONAI's `LoadImage`, `Spacing`,
`sliding_window_inference` and `ResampleToMatch` with the same network in PyTorch. Each is run once
in a process of its own. Memory is the most that the process takes above what it took with the
libraries loaded; compiling is in it, as it is for a user. So it is in the seconds, which are here
to say what the memory buys. Without MONAI and PyTorch there is no peer.
"""

import argparse
import concurrent.futures
import importlib
import importlib.util
import multiprocessing
import pathlib
import tempfile

import nibabel as nib
import numpy as np
import scipy.ndimage

from benchmarks import sliding_window, turns
from dtc_jax.imaging.instances import Instances
from dtc_jax.imaging.volume import Volume, read_image
from dtc_jax.inference.segment import Segmenter, segment
from dtc_jax.inference.sliding_window import SlidingWindow
from dtc_jax.networks.stitching import DeviceSums

_PEERS = ("torch", "monai")
_BATCH, _THRESHOLD = 4, 0.99  # few voxels are above it, though the network has learned nothing
_LUNGS, _ALL, _MONAI = "ours, in the lungs", "ours, everywhere", "MONAI"


def main() -> None:
    """Prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=[300, 512, 512])
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--widths", type=int, nargs="+", default=[4, 8])
    flags = parser.parse_args()
    names = [_LUNGS, _ALL]
    if not turns.lacking(*_PEERS):
        names.append(_MONAI)
    print(
        f"{turns.machine(*_PEERS)}\n\n| | s | CPU s | memory, MiB |\n|---|---|---|---|", flush=True
    )
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="whole-ct-") as folder:
        path = pathlib.Path(folder) / "chest.nii.gz"
        chest = sliding_window.chest(flags.shape)
        nib.save(nib.Nifti1Image(chest.array.T, np.diag([*chest.spacing_mm[::-1], 1])), path)
        for name in names:
            with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
                work = pool.submit(_measured, name, path, flags.window, tuple(flags.widths))
                seconds, memory = work.result()
            cells = f"{seconds.wall:.0f} | {seconds.cpu:.0f} | {memory / 2**20:.0f}"
            print(f"| {name} | {cells} |", flush=True)


def _measured(
    name: str, path: pathlib.Path, window: int, widths: tuple[int, ...]
) -> tuple[turns.Seconds, int]:
    spec = SlidingWindow((window,) * 3, batch=_BATCH)
    if name == _MONAI:
        for module in ("monai.transforms", "monai.inferers", "benchmarks.pytorch_networks"):
            importlib.import_module(module)
        memory = turns.Memory()
        seconds = turns.timed(lambda: _by_monai(path, spec, widths))
    else:
        memory = turns.Memory()
        seconds = turns.timed(lambda: _ours(path, spec, widths, name == _ALL))
    return seconds, memory.peak()


def _ours(path: pathlib.Path, spec: SlidingWindow, widths: tuple[int, ...], all_: bool) -> None:
    seen, predict = sliding_window.untrained(spec, widths)
    segmenter = Segmenter(predict, seen, spec, Instances(threshold=_THRESHOLD), DeviceSums)
    image = read_image(path)
    everywhere = Volume(np.ones(image.shape, bool), image.affine) if all_ else None
    segment(segmenter, image, everywhere)


def _by_monai(path: pathlib.Path, spec: SlidingWindow, widths: tuple[int, ...]) -> None:
    import torch

    from benchmarks import pytorch_networks

    monai = importlib.import_module("monai")  # no dependency: who asks for the peer has it
    network = pytorch_networks.VNet(widths, (1,) * len(widths), kernel_size=3).eval()
    network = network.to(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        image = monai.transforms.LoadImage(ensure_channel_first=True)(path)
        seen = monai.transforms.Spacing((1.0,) * 3, mode="bilinear")(image)
        seen = monai.transforms.ScaleIntensityRange(-1000, 400, 0, 1, clip=True)(seen)
        probability = monai.inferers.sliding_window_inference(
            seen[None],
            spec.window,
            sw_batch_size=spec.batch,
            predictor=lambda x: network(x)[:, None].sigmoid(),
            overlap=spec.overlap,
            mode="gaussian",
        )[0]
        on_scan = monai.transforms.ResampleToMatch(mode="bilinear")(probability, image)
        scipy.ndimage.label(on_scan.numpy()[0] > _THRESHOLD)


if __name__ == "__main__":
    main()
