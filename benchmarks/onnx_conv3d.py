"""Forms of the 3-D convolution in ONNX Runtime beside each other and PyTorch, in one run.

    python -m benchmarks.onnx_conv3d [--repeats=7]

'native' is ONNX's 3-D convolution, 'planes' and 'winograd' are those of `dtc_jax.export.planes`.
They take turns on one thread; printed are medians of the CPU's time, and the largest difference
from 'native' as a share of its largest value. PyTorch takes its turn where it is installed.
"""

import argparse
import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np
import onnxruntime

from benchmarks import turns
from dtc_jax.export import planes
from dtc_jax.export.graph import Graph, Tensor

# [B, D, C, H, W], filters, side of the kernel, stride.
CASES = (
    ((8, 32, 2, 32, 32), 8, 3, 2),  # SE-Net of the demo: stem and stages
    ((32, 16, 8, 16, 16), 8, 3, 1),
    ((32, 8, 16, 8, 8), 16, 3, 1),
    ((32, 4, 32, 4, 4), 32, 3, 1),
    ((32, 2, 64, 2, 2), 64, 3, 1),
    ((1, 32, 1, 48, 48), 64, 3, 1),  # at the paper's width
    ((1, 32, 64, 48, 48), 64, 3, 1),
    ((1, 16, 128, 24, 24), 128, 3, 1),
    ((1, 8, 256, 12, 12), 256, 3, 1),
    ((1, 4, 512, 6, 6), 512, 3, 1),
    ((8, 16, 1, 16, 16), 8, 3, 1),  # SE V-Net of the demo
    ((8, 16, 16, 16, 16), 8, 3, 1),
    ((8, 16, 8, 16, 16), 16, 2, 2),
    ((1, 32, 1, 32, 32), 16, 5, 1),  # of the paper
    ((1, 32, 32, 32, 32), 16, 5, 1),
    ((1, 8, 128, 8, 8), 64, 5, 1),
    ((1, 2, 256, 2, 2), 256, 5, 1),
)


def main() -> None:
    """Prints a table: shape, filters, kernel, stride, and each form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    flags = parser.parse_args()
    print(f"{turns.machine('torch')}; one thread, median of {flags.repeats}", flush=True)
    for shape, filters, size, stride in CASES:
        rng = np.random.default_rng(0)
        x = rng.normal(size=shape).astype(np.float32)
        scale = np.sqrt(2 / (size**3 * shape[2]))
        kernel = (rng.normal(size=(*[size] * 3, shape[2], filters)) * scale).astype(np.float32)
        calls = {form: _onnx(x, kernel, stride, form) for form in ("native", "planes", "winograd")}
        if not turns.lacking("torch"):
            calls["pytorch"] = _torch(x, kernel, stride)
        expected = calls["native"]()
        away = {
            form: abs(call() - expected).max() / abs(expected).max() for form, call in calls.items()
        }
        seconds: dict[str, list[float]] = {form: [] for form in calls}
        for _ in range(flags.repeats):
            for form, call in calls.items():
                start = time.process_time()
                call()
                seconds[form].append(time.process_time() - start)
        row = "".join(
            f"  {form} {1e3 * statistics.median(taken):7.2f} ms {away[form]:.0e}"
            for form, taken in seconds.items()
        )
        print(f"{shape!s:>22} -> {filters:<4}{size}^3/{stride}{row}", flush=True)


def _onnx(x: np.ndarray, kernel: np.ndarray, stride: int, form: str) -> Callable[[], np.ndarray]:
    """A call of a model of one convolution. # [B, D, C, H, W]"""
    graph = Graph(exact=form != "winograd")
    bias = np.zeros(kernel.shape[-1], np.float32)
    if form == "native":
        x = np.ascontiguousarray(x.transpose(0, 2, 1, 3, 4))  # [B, C, D, H, W]
        y = _native(graph.input("x", x.shape[1:], np.float32), kernel, bias, stride)
    else:
        y = planes.convolve(graph.input("x", x.shape[1:], np.float32), kernel, bias, stride)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph.model({"y": y}, {}).SerializeToString(), options, ["CPUExecutionProvider"]
    )

    def call() -> np.ndarray:
        y = session.run(None, {"x": x})[0]
        return y.transpose(0, 2, 1, 3, 4) if form == "native" else y

    return call


def _native(x: Tensor, kernel: np.ndarray, bias: np.ndarray, stride: int) -> Tensor:
    names = [x.graph.constant(kernel.transpose(4, 3, 0, 1, 2)), x.graph.constant(bias)]
    shape = (kernel.shape[-1], *(-(-side // stride) for side in x.shape[1:]))
    same = {"auto_pad": "SAME_UPPER", "strides": [stride] * 3}
    return x.graph.node("Conv", [x, *names], shape, **same)


def _torch(x: np.ndarray, kernel: np.ndarray, stride: int) -> Callable[[], np.ndarray]:
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    size, sides = len(kernel), (x.shape[1], *x.shape[3:])
    lack = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in sides]
    given = np.pad(
        x.transpose(0, 2, 1, 3, 4), [(0, 0), (0, 0), *((n // 2, n - n // 2) for n in lack)]
    )
    padded = torch.from_numpy(given)
    weight = torch.from_numpy(np.ascontiguousarray(kernel.transpose(4, 3, 0, 1, 2)))

    def call() -> np.ndarray:
        with torch.inference_mode():
            y = torch.nn.functional.conv3d(padded, weight, stride=stride)
        return y.numpy().transpose(0, 2, 1, 3, 4)

    return call


if __name__ == "__main__":
    main()
