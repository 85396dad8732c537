"""The same networks, losses and updates in PyTorch, as one would write them there."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import pytorch_networks
from benchmarks.on_gpu.cases import OPTIMIZER, Case
from benchmarks.on_gpu.timing import Peer

_ACTIVATIONS = {"relu": nn.ReLU, "prelu": nn.PReLU}


def device() -> torch.device:
    """The GPU, if PyTorch sees one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare(share: float) -> str:
    """TF32, the choice of kernels by trial, and a share of the memory; says on what it runs."""
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    if device().type != "cuda":
        return "the CPU"
    torch.cuda.set_per_process_memory_fraction(share)
    return f"{torch.cuda.get_device_name()}, cuDNN {torch.backends.cudnn.version()}"


def release() -> None:
    """Gives back what PyTorch keeps for later and forgets what it compiled."""
    if "torch._dynamo" in sys.modules:  # importing it takes seconds
        torch.compiler.reset()
    if device().type == "cuda":
        torch.cuda.empty_cache()


def wait() -> None:
    """Until the device has done everything."""
    if device().type == "cuda":
        torch.cuda.synchronize()


class _Padded(nn.Module):
    """As V-Net does in JAX: up to a size that can be halved, the input goes on as its mirror image.

    On sides that need none this is the network itself.
    """

    def __init__(self, network: nn.Module, step: int):
        super().__init__()
        self.network, self.step = network, step

    def forward(self, x):
        depth, height, width = x.shape[2:]
        for axis in (2, 3, 4):
            n = x.shape[axis]
            if lack := -n % self.step:
                x = torch.cat([x, x.narrow(axis, n - lack, lack).flip(axis)], dim=axis)
        return self.network(x)[:, :depth, :height, :width]


def network(case: Case) -> nn.Module:
    """The network of a case, on the device, channels last."""
    if case.task == "classification":
        made: nn.Module = pytorch_networks.SENet(**case.model)
    else:
        activation = _ACTIVATIONS[case.model["activation"]]
        made = pytorch_networks.VNet(**case.model | {"activation": activation})
        step = 2 ** (len(case.model["widths"]) - 1)
        if any(n % step for n in case.crop):
            made = _Padded(made, step)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 0.03  # of the networks in JAX
    return made.to(device()).to(memory_format=torch.channels_last_3d)


def parameters(case: Case) -> int:
    """How many the network has."""
    return sum(one.numel() for one in network(case).parameters())


def losses(case: Case, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The mean loss, as `dtc_jax.tasks` computes it with weights of 1."""
    if case.task == "classification":
        return F.binary_cross_entropy_with_logits(logits, target)
    axes = (1, 2, 3)
    probability = logits.sigmoid()
    overlap = (probability * target).sum(axes)
    rows = 1.0 - (2 * overlap + 1.0) / (probability.sum(axes) + target.sum(axes) + 1.0)
    if case.loss == "dice_cross_entropy":
        crossed = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        rows = rows + crossed.mean(axes)
    return rows.mean()


def train_peer(case: Case, dtype: str, arrays: dict[str, Any], compiled: bool) -> Peer:
    """Steps on one batch of `in_jax.ready` that lies on the device."""
    before = _in_use()
    module = network(case)
    x, target = _input(arrays), _on_device(arrays, case)
    groups = [
        {"params": [p for p in module.parameters() if p.ndim > 1]},
        {"params": [p for p in module.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    rate, decay = OPTIMIZER.learning_rate, OPTIMIZER.weight_decay
    adam = torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)
    call = torch.compile(module, dynamic=False) if compiled else module

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        with torch.autocast(device().type, torch.bfloat16, enabled=dtype == "bf16"):
            logits = call(x)
        losses(case, logits.float(), target).backward()
        nn.utils.clip_grad_norm_(module.parameters(), OPTIMIZER.clip_norm)
        adam.step()

    return _peer(step, before)


def infer_peer(case: Case, dtype: str, arrays: dict[str, Any], compiled: bool) -> Peer:
    """Predictions of one batch that lies on the device."""
    before = _in_use()
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    module, x = network(case).eval().to(kind), _input(arrays).to(kind)
    call = torch.compile(module, dynamic=False) if compiled else module

    def step() -> None:
        with torch.no_grad():
            call(x)

    return _peer(step, before)


def matmul_peer(side: int, dtype: str) -> Peer:
    """The product of two square matrices."""
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device()).to(kind) for _ in range(2))
    return _peer(lambda: torch.matmul(a, b), _in_use())


def copy_peer(count: int) -> Peer:
    """Reads and writes an array of `count` float32."""
    x = torch.randn(count, device=device())
    y = torch.empty_like(x)
    return _peer(lambda: y.copy_(x), _in_use())


def _peer(step: Callable[[], object], before: int) -> Peer:
    """Run twice, so that memory is that of a step in the middle of a training."""
    if device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start = time.monotonic()
    step()
    wait()
    compile_s = time.monotonic() - start
    if device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()  # without trials of kernels

    def run(turns: int) -> None:
        for _ in range(turns):
            step()
        wait()

    run(1)
    peak = None
    if device().type == "cuda":
        peak = (torch.cuda.max_memory_allocated() - before) / 2**30
    return Peer(run, compile_s, peak)


def _in_use() -> int:
    return torch.cuda.memory_allocated() if device().type == "cuda" else 0


def _input(arrays: dict[str, Any]) -> torch.Tensor:
    """[B, D, H, W, 1] -> [B, 1, D, H, W], channels last."""
    x = torch.from_numpy(arrays["x"]).to(device()).movedim(-1, 1)
    return x.contiguous(memory_format=torch.channels_last_3d)


def _on_device(arrays: dict[str, Any], case: Case) -> torch.Tensor:
    name = "label" if case.task == "classification" else "target"
    return torch.from_numpy(arrays[name]).to(device())


def volume(image: np.ndarray) -> torch.Tensor:
    """A scan on the device, in float32 HU. # [Z, Y, X]"""
    return torch.from_numpy(image).to(device()).float()


def window_predictor(case: Case, dtype: str, compiled: bool) -> Callable[[Any], torch.Tensor]:
    """Windows in HU [B, d, h, w] -> probability."""
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    module = network(case).eval().to(kind)
    call = torch.compile(module, dynamic=False) if compiled else module

    def predict(windows: torch.Tensor) -> torch.Tensor:
        x = ((windows + 1000.0) / 1400.0).clamp(0, 1).to(kind)[:, None]
        with torch.no_grad():
            return call(x.contiguous(memory_format=torch.channels_last_3d)).float().sigmoid()

    return predict


def blended(
    predict: Callable[[Any], torch.Tensor],
    image: np.ndarray,
    batches: Sequence[Sequence[Sequence[int]]],
    count: int,
    weights: np.ndarray,
) -> np.ndarray:
    """The weighted mean over windows that are cut out and added up on the device.

    Args:
      predict: see `window_predictor`.
      image: [Z, Y, X] HU.
      batches: the first voxels of the windows, by batch.
      count: of windows; those after it fill the last batch up.
      weights: of a window's voxels.
    """
    scan, share = volume(image), torch.from_numpy(weights).to(device())
    total, weight = torch.zeros_like(scan), torch.zeros_like(scan)
    for starts in batches:
        places = [
            tuple(slice(a, a + n) for a, n in zip(start, weights.shape, strict=True))
            for start in starts
        ]
        probability = predict(torch.stack([scan[place] for place in places]))
        for place, window in zip(places[:count], probability, strict=False):
            total[place] += share * window
            weight[place] += share
        count -= len(places)
    return (total / weight).cpu().numpy()
