"""A few ablations of the small classifier, for a first look at what a sweep gives.

    python launch.py --mode=sweep --config=configs/senet.py:demo --sweep=configs/sweeps/demo.py \
      --out=runs/sweep-demo

Eight trainings of 20 epochs on a phantom cohort: 14 minutes on two busy CPU cores. 46 lesions are
too few to tell the variants apart, see docs/results.md.
"""

from typing import Any


def get_sweep() -> dict[str, Any]:
    """The sweep as plain data, see docs/sweeps.md."""
    return {
        "base": "full",
        "seeds": (0, 1),
        "common": {"train.epochs": 20},
        "variants": {
            "full": {},
            "se-off": {"model.se": False},
            "residual-off": {"model.residual": False},
            "mask-none": {"preprocess.mask": "none"},
        },
    }
