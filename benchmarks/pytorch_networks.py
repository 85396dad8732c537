"""SE-Net and SE V-Net in PyTorch, by the names and layouts of a bundle's `weights/pytorch.json`.

Of the options of the networks, those of the published configurations: batch norm, squeeze-and-
excitation everywhere, the shortcut added before pooling. Tests hold them against the networks, and
`benchmarks.serving` against their speed.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class SqueezeExcite(nn.Module):
    """A factor for each channel."""

    def __init__(self, channels: int, ratio: int = 4):
        super().__init__()
        self.squeeze = nn.Conv3d(channels, max(1, channels // ratio), 1)
        self.excite = nn.Conv3d(max(1, channels // ratio), channels, 1)

    def forward(self, x):  # noqa: D102
        gate = self.squeeze(x.mean(dim=(2, 3, 4), keepdim=True)).relu()
        return x * self.excite(gate).sigmoid()


class Stage(nn.Module):
    """conv, norm, ReLU, conv, norm, SE, plus the shortcut, ReLU, max-pooling."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm3d(outputs)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm3d(outputs)
        self.se = SqueezeExcite(outputs)
        if inputs != outputs:
            self.projection = nn.Conv3d(inputs, outputs, 1, bias=False)

    def forward(self, x):  # noqa: D102
        y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        shortcut = self.projection(x) if hasattr(self, "projection") else x
        return F.max_pool3d((shortcut + self.se(y)).relu(), 2)


class SENet(nn.Module):
    """[B, C, D, H, W] in [0, 1] -> logit [B]."""

    def __init__(self, width: int = 64, stages: int = 4, channels: int = 1, stem_stride: int = 1):
        super().__init__()
        self.stem = nn.Conv3d(channels, width, 3, stride=stem_stride, bias=False)
        self.stem_norm = nn.BatchNorm3d(width)
        self.stages = stages
        for i in range(stages):
            setattr(self, f"stage{i + 1}", Stage(width * 2 ** max(0, i - 1), width * 2**i))
        self.head = nn.Linear(width * 2 ** (stages - 1), 1)

    def forward(self, x):  # noqa: D102
        x = self.stem_norm(self.stem(_same(x, 3, self.stem.stride[0]))).relu()
        for i in range(self.stages):
            x = getattr(self, f"stage{i + 1}")(x)
        return self.head(x.mean(dim=(2, 3, 4)))[:, 0]


class Convolutions(nn.Module):
    """`count` times conv, norm, activation; squeeze-and-excitation; the shortcut, activation."""

    def __init__(self, inputs: int, outputs: int, count: int, kernel_size: int, activation: type):
        super().__init__()
        self.count = count
        for i in range(1, count + 1):
            first = inputs if i == 1 else outputs
            convolution = nn.Conv3d(first, outputs, kernel_size, padding="same", bias=False)
            setattr(self, f"conv{i}", convolution)
            setattr(self, f"norm{i}", nn.BatchNorm3d(outputs))
            setattr(self, f"activation{i}", activation())
        self.se = SqueezeExcite(outputs)

    def forward(self, x, shortcut):  # noqa: D102
        for i in range(1, self.count + 1):
            x = getattr(self, f"norm{i}")(getattr(self, f"conv{i}")(x))
            if i < self.count:
                x = getattr(self, f"activation{i}")(x)
        return getattr(self, f"activation{self.count}")(self.se(x) + shortcut)


class VNet(nn.Module):
    """[B, C, D, H, W] in [0, 1], sides divisible by 2^(levels - 1) -> logits [B, D, H, W]."""

    def __init__(
        self,
        widths: tuple[int, ...],
        convolutions: tuple[int, ...],
        kernel_size: int = 5,
        activation: type = nn.PReLU,
    ):
        super().__init__()
        self.levels = len(widths)
        for i, (width, count) in enumerate(zip(widths, convolutions, strict=True), start=1):
            first = 1 if i == 1 else width
            setattr(self, f"encoder{i}", Convolutions(first, width, count, kernel_size, activation))
            for name, module in (
                ("down", nn.Conv3d(widths[i - 2], width, 2, stride=2, bias=False)),
                (
                    "up",
                    nn.ConvTranspose3d(widths[min(i, self.levels - 1)], width, 2, 2, bias=False),
                ),
            ):
                if i != (1 if name == "down" else self.levels):
                    setattr(self, f"{name}{i}", module)
                    setattr(self, f"{name}{i}_norm", nn.BatchNorm3d(width))
                    setattr(self, f"{name}{i}_activation", activation())
            if i < self.levels:
                decoder = Convolutions(2 * width, width, count, kernel_size, activation)
                setattr(self, f"decoder{i}", decoder)
        self.head1 = nn.Conv3d(widths[0], 1, 1)

    def _changed(self, name: str, x):
        module, norm, activation = (
            getattr(self, name + end) for end in ("", "_norm", "_activation")
        )
        return activation(norm(module(x)))

    def forward(self, x):  # noqa: D102
        skips = []
        for i in range(1, self.levels + 1):
            x = self._changed(f"down{i}", x) if skips else x
            x = getattr(self, f"encoder{i}")(x, x)
            skips.append(x)
        for i in range(self.levels - 1, 0, -1):
            x = self._changed(f"up{i}", x)
            x = getattr(self, f"decoder{i}")(torch.cat([x, skips[i - 1]], dim=1), x)
        return self.head1(x)[:, 0]


def make(config: Any, channels: int) -> nn.Module:
    """The network of a configuration.

    Args:
      config: with `task` and `model`; options of which there is no other here are not looked at.
      channels: of the input.

    Raises:
      ValueError: SE-Net has measures.
    """
    model = config.model
    if config.task != "segmentation":
        if model.get("measures", 0):
            raise ValueError("config.model.measures is not among the options of this module.")
        return SENet(model.width, model.stages, channels, model.stem_stride)
    activation = {"relu": nn.ReLU, "prelu": nn.PReLU}[model.activation]
    return VNet(model.widths, model.convolutions, model.kernel_size, activation)


def load(network: nn.Module, arrays: dict, layout: dict) -> nn.Module:
    """Gives a network the arrays of `weights/model.safetensors`, laid out by `pytorch.json`."""
    state = network.state_dict()
    for name, array in arrays.items():
        entry = layout[name]
        there = entry["name"].removeprefix("0.")
        tensor = torch.from_numpy(array).permute(entry["permute"])
        assert list(tensor.shape) == entry["shape"]
        state[there] = tensor.reshape(state[there].shape)  # 1x1x1 convolutions
    network.load_state_dict(state)
    return network.eval()


def _same(x, size: int, stride: int):
    """Padded as XLA's SAME, which begins with the smaller half."""
    pads = []
    for side in reversed(x.shape[2:]):
        total = max((-(-side // stride) - 1) * stride + size - side, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)
