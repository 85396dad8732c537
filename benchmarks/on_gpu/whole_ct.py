"""The stage `whole_ct`: a drawn scan through V-Net, a window at a time.

`jax` is the project's `sliding_window` with its `DeviceSums`, as `inference.segment` calls it:
windows are cut out on the host. `jax on device` sends the scan once and cuts them there, as the
loop in PyTorch does, and MONAI where it is installed. All compute all windows of the scan, with
the same Gaussian weights; where MONAI computes another number of windows, its row says so.
"""

import functools
import importlib
import importlib.util
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.on_gpu import in_jax
from benchmarks.on_gpu.cases import Case
from benchmarks.on_gpu.session import Session, named
from benchmarks.on_gpu.timing import SAMPLES, Peer

try:
    from dtc_jax.imaging import lesions  # noqa: F401
except ImportError:
    # It reads and labels masks, with libraries that may be missing; windows everywhere need none.
    sys.modules["dtc_jax.imaging.lesions"] = types.ModuleType("dtc_jax.imaging.lesions")

try:
    import tqdm  # noqa: F401
except ImportError:  # draws bars of progress on a terminal, which nothing here needs
    sys.modules["tqdm"] = types.ModuleType("tqdm")
    sys.modules["tqdm"].tqdm = lambda items, **unused: items  # type: ignore[attr-defined]

from dtc_jax.imaging.preprocess import normalize
from dtc_jax.inference import sliding_window as windows_lib
from dtc_jax.networks.stitching import DeviceSums


def whole_ct(session: Session) -> None:
    """Seconds a scan, by the number of windows that the network sees at once."""
    segmenters = [case for case in session.sizes.cases if case.task == "segmentation"]
    if not segmenters:
        return
    case = segmenters[0]
    image = np.random.default_rng(0).integers(-1000, 400, session.sizes.scan, np.int16)
    rows = [(case, "bf16", batch) for batch in session.sizes.scan_batches]
    for case, dtype, batch in session.budget.rows("whole_ct", rows, lambda row: named(*row)):
        spec = windows_lib.SlidingWindow(case.crop, batch=batch)
        starts = windows_lib._starts(image.shape, spec)
        makers: dict[str, Callable[[], Peer]] = {
            "jax": functools.partial(_as_in_the_project, case, dtype, image, spec),
            "jax on device": functools.partial(_on_device, case, dtype, image, spec),
        }
        makers |= session.of_torch(
            lambda torch, compiled, case=case, dtype=dtype, spec=spec: _in_torch(
                torch, case, dtype, image, spec, compiled
            )
        )
        if session.torch is not None and importlib.util.find_spec("monai") is not None:
            makers["torch MONAI"] = functools.partial(
                _by_monai, session.torch, case, dtype, image, spec
            )
        started = time.monotonic()
        seconds = session.timed(
            "whole_ct",
            f"{case.name}, {len(starts)} windows",
            dtype,
            batch,
            makers,
            in_jax.forward_flops(case) * len(starts),
            "windows/s",
            float(len(starts)),
            samples=_samples(session),
        )
        said = ", ".join(f"{name} {turn:.2f} s" for name, turn in seconds.items())
        took = time.monotonic() - started
        session.table.say(f"whole_ct, {batch} windows at once: {said} ({took:.0f} s in all)")


def _samples(session: Session) -> int:
    """Fewer where a scan could take all the time that is left."""
    return SAMPLES if session.budget.left() > 60 or session.sizes.least_s < 0.1 else 3


def _predict(case: Case, dtype: str) -> Callable[[jax.Array], jax.Array]:
    """Windows in HU [B, d, h, w] -> probability, as `networks.segmenter` has it."""
    net, spec = in_jax.network(case, dtype), in_jax.preprocess_spec(case)
    task = in_jax.make_task(case, dtype, augmented=False)
    params, stats = jax.jit(task.init)(jax.random.key(0))
    variables = {"params": params, "batch_stats": stats}

    def probability(variables: Any, hu: jax.Array) -> jax.Array:
        x = normalize(hu, jnp.zeros(hu.shape, jnp.uint8), spec, jnp)  # [B, d, h, w, 1]
        return jax.nn.sigmoid(net.apply(variables, x, train=False))

    return functools.partial(jax.jit(probability), variables)


def _once(scan: Callable[[], Any]) -> Peer:
    """A peer whose first scan, which compiles, is timed by itself."""

    def run(turns: int) -> None:
        for _ in range(turns):
            scan()

    start = time.monotonic()
    run(1)
    return Peer(run, time.monotonic() - start)


def _as_in_the_project(
    case: Case, dtype: str, image: np.ndarray, spec: windows_lib.SlidingWindow
) -> Peer:
    predict = _predict(case, dtype)
    return _once(lambda: windows_lib.sliding_window(predict, image, spec, None, DeviceSums))


def _batched(image: np.ndarray, spec: windows_lib.SlidingWindow) -> tuple[np.ndarray, np.ndarray]:
    """Starts of the windows by batch, and 1 for each, 0 for those that fill the last one up."""
    starts = windows_lib._starts(image.shape, spec)
    lack = -len(starts) % spec.batch
    counts = np.pad(np.ones(len(starts), np.float32), (0, lack))
    starts = np.pad(starts, ((0, lack), (0, 0)), mode="edge")
    return starts.reshape(-1, spec.batch, 3), counts.reshape(-1, spec.batch)


def _on_device(case: Case, dtype: str, image: np.ndarray, spec: windows_lib.SlidingWindow) -> Peer:
    return _once(blended_on_device(_predict(case, dtype), image, spec))


def blended_on_device(
    predict: Callable[[jax.Array], jax.Array], image: np.ndarray, spec: windows_lib.SlidingWindow
) -> Callable[[], np.ndarray]:
    """What computes the weighted mean over windows that are cut out on the device. # [Z, Y, X]"""
    weights = jnp.asarray(windows_lib.importance(spec))
    starts, counts = (jnp.asarray(part) for part in _batched(image, spec))

    @jax.jit
    def blended(image: jax.Array, starts: jax.Array, counts: jax.Array) -> jax.Array:
        def cut(start: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice(image, start, spec.window)

        def add(sums: Any, some: Any) -> tuple[Any, None]:
            probability = predict(jax.vmap(cut)(some[0]).astype(jnp.float32))

            def plus(i: jax.Array, sums: Any) -> Any:
                share = weights * some[1][i]
                added = (share * probability[i], share)
                where = some[0][i]
                return tuple(
                    jax.lax.dynamic_update_slice(
                        one, jax.lax.dynamic_slice(one, where, spec.window) + what, where
                    )
                    for one, what in zip(sums, added, strict=True)
                )

            return jax.lax.fori_loop(0, spec.batch, plus, sums), None

        zeros = jnp.zeros(image.shape, jnp.float32)
        (total, weight), _ = jax.lax.scan(add, (zeros, zeros), (starts, counts))
        return total / weight

    return lambda: np.asarray(blended(image, starts, counts))


def _in_torch(
    torch_peers: types.ModuleType,
    case: Case,
    dtype: str,
    image: np.ndarray,
    spec: windows_lib.SlidingWindow,
    compiled: bool,
) -> Peer:
    predict = torch_peers.window_predictor(case, dtype, compiled)
    starts = windows_lib._starts(image.shape, spec)
    starts = np.pad(starts, ((0, -len(starts) % spec.batch), (0, 0)), mode="edge")
    batches = starts.reshape(-1, spec.batch, 3).tolist()
    real = len(windows_lib._starts(image.shape, spec))
    weights = windows_lib.importance(spec)
    return _once(lambda: torch_peers.blended(predict, image, batches, real, weights))


def _by_monai(
    torch_peers: types.ModuleType,
    case: Case,
    dtype: str,
    image: np.ndarray,
    spec: windows_lib.SlidingWindow,
) -> Peer:
    inferers = importlib.import_module("monai.inferers")
    predict = torch_peers.window_predictor(case, dtype, False)
    seen = 0

    def counted(windows: Any) -> Any:
        nonlocal seen
        seen += len(windows)
        return predict(windows[:, 0])[:, None]

    def scan() -> Any:
        volume = torch_peers.volume(image)[None, None]
        probability = inferers.sliding_window_inference(
            volume,
            spec.window,
            spec.batch,
            counted,
            overlap=spec.overlap,
            mode="gaussian",
            sigma_scale=spec.sigma,
        )
        return probability[0, 0].float().cpu().numpy()

    peer = _once(scan)
    if seen != (ours := len(windows_lib._starts(image.shape, spec))):
        peer.note = f"computes {seen} windows; the rate counts {ours}"
    return peer
