"""Time and memory of segmenting a whole CT, beside a plain loop over the same windows.

    python -m benchmarks.sliding_window [--shape Z Y X] [--window N] [--widths 4 8]

By default a drawn chest of 300 x 512 x 512 voxels of 1.0 x 0.7 x 0.7 mm and a small, untrained
SE V-Net. Each stage is timed as `inference.segment` runs it; peak memory is that of the process
up to the end of the stage. The plain loop sends one window at a time through the same network,
blends on the host and knows nothing of the lungs: it is run for 20 windows and extrapolated.

Where MONAI and PyTorch are installed, a block of 160 x 160 x 160 voxels is segmented beside MONAI's
`sliding_window_inference`, all of it by both: the same windows, overlap, weights, batch and network
(its weights are as random as ours). They take turns; medians of `--repeats`.
"""

import argparse
import importlib.util
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import turns
from dtc_jax.imaging import instances
from dtc_jax.imaging.grid import to_grid
from dtc_jax.imaging.lungs import lung_field
from dtc_jax.imaging.preprocess import Preprocess, normalize
from dtc_jax.imaging.resample import onto
from dtc_jax.imaging.volume import Volume
from dtc_jax.inference import sliding_window as windows_lib
from dtc_jax.models.vnet import VNet
from dtc_jax.networks.stitching import DeviceSums

_SPACING_MM = (1.0, 0.7, 0.7)
_PLAIN_WINDOWS = 20
_PEERS = ("torch", "monai")
_BLOCK = 160  # voxels a side, of what is segmented beside MONAI


def chest(shape: list[int]) -> Volume:
    """A trunk with two lungs and noise of 30 HU. # [Z, Y, X] int16"""
    z, y, x = np.ix_(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape))
    hu = np.full(shape, -1000, np.int16)
    hu[np.broadcast_to((y / 0.75) ** 2 + (x / 0.95) ** 2 < 1, shape)] = 40
    for middle in (-0.45, 0.45):
        hu[(z / 0.9) ** 2 + (y / 0.55) ** 2 + ((x - middle) / 0.36) ** 2 < 1] = -860
    rng = np.random.default_rng(0)
    for plane in hu:
        plane += rng.normal(0, 30, plane.shape).astype(np.int16)
    return Volume(hu, np.diag([*_SPACING_MM, 1.0]))


def _timed(name: str, run: Callable[[], Any]) -> Any:
    start = time.monotonic()
    result = run()
    seconds = time.monotonic() - start
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{name:<28}{seconds:8.1f} s   peak {peak_gib:5.2f} GiB", flush=True)
    return result


def _plain(predict: Callable, image: np.ndarray, spec: windows_lib.SlidingWindow) -> float:
    """Seconds a window of the plain loop."""
    weights = windows_lib.importance(spec)
    total, weight = (np.zeros(image.shape, np.float32) for _ in range(2))
    start = 0.0
    for i in range(_PLAIN_WINDOWS + 1):
        depth, height, width = spec.window
        box = (slice(depth), slice(i, i + height), slice(width))
        probability = np.asarray(predict(jnp.asarray(image[box][None], jnp.float32)))[0]
        total[box] += weights * probability
        weight[box] += weights
        start = start or time.monotonic()  # the first one compiles
    return (time.monotonic() - start) / _PLAIN_WINDOWS


def _beside_monai(
    predict: Callable, image: np.ndarray, spec: windows_lib.SlidingWindow, flags: argparse.Namespace
) -> None:
    """Prints a row each: the medians of ours and of MONAI's."""
    import torch

    from benchmarks import pytorch_networks

    monai = importlib.import_module("monai")  # no dependency: who asks for the peer has it
    sliding_window_inference = importlib.import_module("monai.inferers").sliding_window_inference
    block = image[tuple(slice(_BLOCK) for _ in image.shape)]
    everywhere = np.ones(block.shape, bool)
    widths = tuple(flags.widths)
    network = pytorch_networks.VNet(widths, (1,) * len(widths), kernel_size=3).eval()
    network = network.to(memory_format=torch.channels_last_3d)
    values = torch.from_numpy((block.astype(np.float32) + 1000) / 1400).clip(0, 1)[None, None]

    def by_monai() -> None:
        with torch.inference_mode():
            sliding_window_inference(
                values,
                spec.window,
                sw_batch_size=spec.batch,
                predictor=lambda x: network(x)[:, None].sigmoid(),
                overlap=spec.overlap,
                mode="gaussian",
            )

    def ours() -> None:
        windows_lib.sliding_window(predict, block, spec, everywhere, DeviceSums)

    calls = {"ours": ours, f"MONAI {monai.__version__}": by_monai}
    for call in calls.values():
        call()  # compiles
    print(f"{block.shape} voxels, PyTorch {torch.__version__}; medians of {flags.repeats}")
    by_name = {name: lambda call=call: turns.timed(call) for name, call in calls.items()}
    medians = turns.in_turns(by_name, flags.repeats)
    for name, median in medians.items():
        ratio = medians["ours"].wall / median.wall
        print(
            f"{name:<28}{median.wall:8.1f} s   {median.cpu:8.1f} s CPU   our time / its {ratio:.2f}"
        )


def untrained(
    spec: windows_lib.SlidingWindow, widths: Sequence[int]
) -> tuple[Preprocess, Callable[[Any], Any]]:
    """What a small SE V-Net sees, and its probabilities of a batch of windows in HU.

    Args:
      spec: the windows.
      widths: of the network.
    """
    window = Preprocess(crop_mm=spec.window, grid="scan", antialias="gaussian")
    network = VNet(widths=tuple(widths), convolutions=(1,) * len(widths), kernel_size=3)
    variables = network.init(jax.random.key(0), jnp.zeros((1, 16, 16, 16, 1)), train=False)

    @jax.jit
    def predict(hu: jax.Array) -> jax.Array:
        logits = network.apply(variables, normalize(hu, None, window, jnp), train=False)
        assert isinstance(logits, jax.Array)  # apply may return a pair, but not this one
        return jax.nn.sigmoid(logits)

    return window, predict


def main() -> None:
    """Parses the flags, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=[300, 512, 512])
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--widths", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--repeats", type=int, default=5)
    flags = parser.parse_args()

    print(turns.machine(*_PEERS), flush=True)
    spec = windows_lib.SlidingWindow((flags.window,) * 3, batch=flags.batch)
    window, predict = untrained(spec, flags.widths)
    image = _timed("drawing", lambda: chest(flags.shape))
    lungs = _timed("lung field", lambda: lung_field(image))
    seen = _timed("resampling to 1 mm", lambda: to_grid(image, window))
    field = _timed("field at 1 mm", lambda: onto(lungs, seen))
    print(f"{seen.shape} voxels at 1 mm, windows of {spec.window}, overlap {spec.overlap}")

    def run() -> np.ndarray:
        return windows_lib.sliding_window(predict, seen.array, spec, field.array, DeviceSums)

    _timed("windows, first scan", run)
    probability = _timed("windows, second scan", run)
    found = _timed("back on the scan's grid", lambda: onto(Volume(probability, seen.affine), image))
    _timed("lesions", lambda: instances.find(image, found, instances.Instances(), lungs))
    seconds = _plain(predict, seen.array, spec)
    step = spec.window[0] // 2
    everywhere = int(np.prod([-(-(n - spec.window[0]) // step) + 1 for n in seen.shape]))
    print(
        f"plain loop: {seconds:.2f} s a window, {everywhere} windows: {seconds * everywhere:.0f} s"
    )
    if not turns.lacking(*_PEERS):
        _beside_monai(predict, seen.array, spec, flags)


if __name__ == "__main__":
    main()
