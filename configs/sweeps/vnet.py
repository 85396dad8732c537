"""The ablations of the segmenter: where does SE help, and which shape, loss and training?

    python launch.py --mode=sweep --config=configs/vnet.py --sweep=configs/sweeps/vnet.py --out=DIR

22 variants with three seeds: 66 networks, so use accelerators. Not measured.
"""

from typing import Any

from configs import common


def get_sweep() -> dict[str, Any]:
    """The sweep as plain data, see docs/sweeps.md."""
    return {
        "base": "full",
        "seeds": (0, 1, 2),
        "margin": 0.05,  # in Dice
        "common": {"data.size_mm": (64, 88, 88)},  # a margin for the largest crop
        "variants": {
            "full": {},
            "se": {"grid": {"model.se": ("encoder", "decoder", "none")}},
            "se-ratio": {"grid": {"model.se_ratio": (2, 8, 16)}},  # 4 is the base
            "residual-off": {"model.residual": False},
            "se-and-residual-off": {"model.se": "none", "model.residual": False},
            "half-width": {"model.widths": (8, 16, 32, 64)},
            "double-width": {"model.widths": (32, 64, 128, 256)},
            # What it is trained on; all are tested on the same patches.
            "crop": {"grid": {"preprocess.crop_mm": ((24, 32, 32), (48, 64, 64))}},
            "kernel-5": {"model.kernel_size": 5},
            "resize": {"model.up": "resize"},
            "deep-supervision": {"model.deep_supervision": True},
            "norm-instance": {"model.norm": "instance"},
            "loss": {"grid": {"loss.name": ("dice", "tversky", "focal_tversky")}},
            "empty-skip": {"loss.empty": "skip"},
            "augmentation-off": common.augmentation_off(),
        },
    }
