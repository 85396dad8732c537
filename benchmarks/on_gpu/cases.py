"""The networks that `benchmarks.accelerator` measures, as plain data.

They are those of `configs/senet.py` and `configs/vnet.py`, written out once more, since these need
`ml_collections`, which a borrowed machine may lack; a test compares them field by field. One
departure: all are trained by AdamW, clipped, at a constant rate, so that PyTorch does the same.
"""

import dataclasses
from types import SimpleNamespace
from typing import Any, Literal

OPTIMIZER = SimpleNamespace(
    name="adamw",
    learning_rate=1e-3,
    schedule="constant",
    warmup_fraction=0.0,
    weight_decay=0.05,
    clip_norm=1.0,
)
_AUGMENT = {
    "flip": (0.5, 0.5, 0.5),
    "resampled": 1.0,
    "hu_scale": 0.05,
    "visible_extent": (0.0, 0.0, 0.0),
}
_SENET_AUGMENT = _AUGMENT | {
    "interpolation": "linear",
    "rotate_deg": (15.0, 0.0, 0.0),
    "shift_mm": 2.0,
    "scale": 0.1,
    "hu_shift": 20.0,
    "noise_hu": 20.0,
}
_VNET_AUGMENT = _AUGMENT | {
    "interpolation": "sharp",
    "rotate_deg": (20.0, 20.0, 20.0),
    "shift_mm": 8.0,
    "scale": 0.15,
    "hu_shift": 30.0,
    "noise_hu": 30.0,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A network and what it is trained on.

    Attributes:
      name: of the row.
      task: as in a configuration.
      model: fields of the network that are not its defaults.
      crop: voxels of the network's input along z, y, x.
      stored: those of a stored record, with a margin for the augmentation.
      loss: of the segmentation, by its name in `config.loss`.
      augment: fields of `config.augment`.
      input_batch: rows of a step in the stages `input` and `parallel`.
      remat_batch: and in the stage `remat`.
    """

    name: str
    task: Literal["classification", "segmentation"]
    model: dict[str, Any]
    crop: tuple[int, int, int]
    stored: tuple[int, int, int]
    loss: str
    augment: dict[str, Any]
    input_batch: int
    remat_batch: int


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
      cases: the most important first.
      train_batches: of a training step, the most telling first; a sweep goes on in this order.
      infer_batches: of a prediction.
      matrix: side of the square matrices.
      copy_mib: of the array that is copied.
      scan: voxels of the drawn CT along z, y, x.
      scan_batches: windows of it that the network sees at once.
      least_s: seconds that a sample of a timing takes at the least.
    """

    cases: tuple[Case, ...]
    train_batches: tuple[int, ...]
    infer_batches: tuple[int, ...]
    matrix: int
    copy_mib: int
    scan: tuple[int, int, int]
    scan_batches: tuple[int, ...]
    least_s: float


_SENET = Case(
    "senet",
    "classification",
    {"width": 64, "stages": 4},
    (32, 48, 48),
    (48, 72, 72),
    "",
    _SENET_AUGMENT,
    input_batch=128,
    remat_batch=128,
)
_VNET = Case(
    "vnet",
    "segmentation",
    {
        "widths": (16, 32, 64, 128),
        "convolutions": (1, 2, 2, 2),
        "kernel_size": 3,
        "activation": "relu",
    },
    (40, 56, 56),
    (56, 80, 80),
    "dice_cross_entropy",
    _VNET_AUGMENT,
    input_batch=64,
    remat_batch=64,
)
_PAPER = dataclasses.replace(
    _VNET,
    name="vnet:paper",
    model={
        "widths": (16, 32, 64, 128, 256),
        "convolutions": (1, 2, 3, 3, 3),
        "kernel_size": 5,
        "activation": "prelu",
    },
    loss="dice",
    remat_batch=16,
)

FULL = Sizes(
    cases=(_SENET, _VNET, _PAPER),
    train_batches=(32, 128, 8, 512),
    infer_batches=(32, 128, 1, 512),
    matrix=8192,
    copy_mib=4096,
    scan=(300, 512, 512),
    scan_batches=(64, 8),
    least_s=0.2,
)
_SMALL: dict[str, Any] = {"crop": (16, 16, 16), "stored": (20, 20, 20)}
_SMALL |= {"input_batch": 4, "remat_batch": 2}
TINY = Sizes(
    cases=(
        dataclasses.replace(_SENET, model={"width": 4, "stages": 2}, **_SMALL),
        dataclasses.replace(
            _VNET, model=_VNET.model | {"widths": (4, 8), "convolutions": (1, 1)}, **_SMALL
        ),
        # A side of 15 is not divisible, as those of the real case are not.
        dataclasses.replace(
            _PAPER,
            model=_PAPER.model | {"widths": (4, 8), "convolutions": (1, 1)},
            **_SMALL | {"crop": (15, 16, 16)},
        ),
    ),
    train_batches=(2,),
    infer_batches=(2,),
    matrix=256,
    copy_mib=8,
    scan=(20, 40, 40),
    scan_batches=(4,),
    least_s=0.02,
)


def only(sizes: Sizes, names: list[str]) -> Sizes:
    """The sizes with some of the cases; the stage `whole_ct` takes the first segmenter of them."""
    return dataclasses.replace(sizes, cases=tuple(c for c in sizes.cases if c.name in names))
