"""The ablations of the study's classifier: what does each part of SE-Net, and each reading, do?

    python launch.py --mode=sweep --config=configs/senet.py --sweep=configs/sweeps/study.py \
      --out=DIR

24 variants with three seeds and five folds: 360 networks, so use accelerators. Not measured. The
base is the configuration as it is given; any field of it can be set as in
--config.data.manifest=CSV. Crops are stored with a margin for the largest field of view.
"""

from typing import Any

from configs import common


def get_sweep() -> dict[str, Any]:
    """The sweep as plain data, see docs/sweeps.md."""
    return {
        "base": "full",
        "seeds": (0, 1, 2),
        "folds": 5,
        "common": {"data.size_mm": (64, 88, 88)},
        "variants": {
            "full": {},
            "se-off": {"model.se": False},
            "residual-off": {"model.residual": False},
            "se-and-residual-off": {"model.se": False, "model.residual": False},
            "se-ratio": {"grid": {"model.se_ratio": (2, 8, 16)}},  # 4 is the base
            "width": {"grid": {"model.width": (16, 32)}},  # 64 is the base
            "stem-off": {"model.stem": False},
            "add-after-pool": {"model.add": "after_pool"},
            "pool-1x2x2": {"model.pool_window": (1, 2, 2)},
            "pool-last-off": {"model.pool_last": False},
            "biases-on": {"model.projection_bias": True, "model.conv_bias": True},
            "norm": {"grid": {"model.norm": ("instance", "group")}},
            "crop": {"grid": {"preprocess.crop_mm": ((16, 32, 32), (48, 64, 64))}},
            "mask": {"grid": {"preprocess.mask": ("channel", "apply")}},
            "augmentation-off": common.augmentation_off() | {"augment.mixup": 0.0},
            "mirror-off": {"predict.mirror": False},
            "class-weights-off": {"loss.class_weight": "none"},
            "label-smoothing": {"loss.label_smoothing": 0.1},
        },
    }
