"""SE V-Net, the segmenter of lung metastases.

    python launch.py --config=configs/vnet.py[:VARIANT] [--workdir=DIR] [--config.a.b=VALUE …]

| variant | trains | on |
|---|---|---|
| (none) | a lighter network by Dice and cross-entropy, AdamW | a phantom cohort of 120 patients |
| `paper` | as the study: 1 - Dice, Adam, 0.01, 320 epochs | the same |
| `demo` | a small network | a phantom cohort of 40 patients |
| `demo-paper` | the network of `demo` as `paper` trains | the same |
| `lidc` | on a patient-wise hold-out | cubes about lung nodules, `--config.data.manifest=CSV` |

The last looks for its data in the folder that the environment variable DTC_JAX_DATA names.
"""

import os

import ml_collections

_DATA = os.environ.get("DTC_JAX_DATA", "$DTC_JAX_DATA")


def _base() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.task = "segmentation"
    config.seed = 0
    config.parallel = "jit"  # or 'pmap': the same step, mapped over devices by hand
    config.data = {
        "source": "phantom",  # or 'manifest' (scans and a CSV) or 'cubes' (cut out already)
        "folder": "data",  # generated and built data
        "manifest": "",
        "size_mm": (56, 80, 80),  # of a stored patch: the network's, with a margin; see spacing_mm
        "lesion_share": 0.5,  # of the patches; the others are drawn from the lung field,
        "vessel_share": 0.5,  # this share of them about dense tissue
        "seed": 0,  # of what is drawn
        "exclude_patients": (),  # ids of those to leave out
        "workers": 2,  # reading threads
        "cache": True,  # keep the decoded records in memory
        "phantom": {"patients": 120, "external_patients": 16, "seed": 0},
    }
    config.split = {
        "cohort": "primary",  # patients of every other cohort are test only
        "kind": "holdout",  # 'temporal', 'center', 'column' or 'file'; k-fold where folds > 0
        "unit": "patient",
        "folds": 0,
        "seed": 0,
        "test_fraction": 0.3,
        "validation_fraction": 0.15,
        "center": "",  # the centre left out, where kind is 'center'
        "file": "",  # a CSV of patient_id and split, where kind is 'file'
    }
    config.preprocess = {
        "crop_mm": (40, 56, 56),  # of a training patch
        "spacing_mm": 1.0,
        "window": (-1000.0, 400.0),  # HU
        "antialias": "gaussian",  # of scans finer than the grid; or 'none'
    }
    config.augment = {  # strengths; 0 is off
        "flip": (0.5, 0.5, 0.5),
        "rotate_deg": (20.0, 20.0, 20.0),
        "shift_mm": 8.0,
        "scale": 0.15,
        "resampled": 1.0,  # share of the examples; the others keep their voxels
        "interpolation": "sharp",  # of those resampled; 'linear' takes half of the noise away
        "hu_shift": 30.0,
        "hu_scale": 0.05,
        "noise_hu": 30.0,
        "visible_extent": (0.0, 0.0, 0.0),
    }
    config.model = {
        "widths": (16, 32, 64, 128),
        "convolutions": (1, 2, 2, 2),
        "kernel_size": 3,
        "stem_stride": 1,  # 2 computes on half the grid
        "se": "both",  # or 'encoder', 'decoder', 'none'
        "se_ratio": 4,
        "norm": "batch",
        "activation": "relu",
        "up": "transposed",
        "deep_supervision": False,
        "dtype": "float32",
        "conv": "auto",
    }
    config.loss = {
        "name": "dice_cross_entropy",  # or 'dice', 'tversky', 'focal_tversky'
        "smoothing": 1.0,  # voxels
        "alpha": 0.3,  # of Tversky: weight of false positives
        "beta": 0.7,  # and of false negatives
        "gamma": 4 / 3,
        "empty": "count",  # or 'skip': what overlap makes of patches without lesion
    }
    config.optimizer = {
        "name": "adamw",
        "learning_rate": 3e-3,
        "schedule": "cosine",
        "warmup_fraction": 0.05,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "momentum": 0.9,
    }
    config.train = {
        "epochs": 100,
        "batch_size": 8,
        "evaluate_every_epochs": 1,
        "checkpoint_every_epochs": 5,
        "log_every_steps": 0,  # 0 is once an epoch
        "patience": 0,  # evaluations without improvement before stopping; 0 is off
        "ema_decay": 0.98,
        "monitor": "dice",  # or 'loss'; of the validation split
    }
    config.predict = {
        "batch_size": 8,
        # Of a patch in evaluation. SE blocks average over the field of view: on another one than
        # that of training the network is not the one that was trained.
        "crop_mm": (40, 56, 56),
        "mirror": False,  # mean over the mirror images
        "threshold": 0.5,  # of the probability
        # Of whole scans alone:
        "overlap": 0.5,  # of neighbouring windows, as a share of their side
        "connectivity": 26,  # neighbours of a voxel that belong to the same lesion; 6, 18 or 26
        "min_volume_mm3": 5.0,  # smaller pieces are no lesions
    }
    # Name -> fields in which a candidate differs. Where there are any, each split trains all of
    # them and keeps the best on its own validation rows.
    config.candidates = {}
    return config


def _default(config: ml_collections.ConfigDict) -> None:
    """Lighter than V-Net as published, and with a loss that also learns from empty patches."""


def _paper(config: ml_collections.ConfigDict) -> None:
    """The study's training. Of its network it says no more than the name: V-Net as published."""
    _as_published(config)
    config.model.update(
        widths=(16, 32, 64, 128, 256),
        convolutions=(1, 2, 3, 3, 3),
        kernel_size=5,
        activation="prelu",
    )


def _as_published(config: ml_collections.ConfigDict) -> None:
    config.loss.name = "dice"
    config.optimizer.update(
        name="adam", learning_rate=0.01, schedule="constant", warmup_fraction=0.0, clip_norm=0.0
    )
    config.train.update(epochs=320, ema_decay=0.0)


def _demo(config: ml_collections.ConfigDict) -> None:
    config.data.phantom.update(patients=40, external_patients=6)
    config.data.size_mm = (40, 40, 40)
    config.preprocess.update(crop_mm=(32, 32, 32), spacing_mm=2.0)
    config.predict.crop_mm = (32, 32, 32)
    config.model.update(widths=(8, 16, 32), convolutions=(1, 1, 1))
    config.train.update(epochs=20, evaluate_every_epochs=2)


def _demo_paper(config: ml_collections.ConfigDict) -> None:
    _demo(config)
    _as_published(config)


def _lidc(config: ml_collections.ConfigDict) -> None:
    config.data.update(source="cubes", size_mm=(51, 51, 51))
    config.data.manifest = f"{_DATA}/lidc_patches/patches.csv"
    # Its nodule is also in lidc_ct, a whole scan on which the trained segmenter is judged.
    config.data.exclude_patients = ("LIDC-feup-0",)
    config.preprocess.crop_mm = (48, 48, 48)
    config.predict.crop_mm = (51, 51, 51)
    config.augment.shift_mm = 10.0  # the nodules lie in the middle, which must not be learnt
    config.augment.resampled = 0.5  # these cubes are seen as they are stored
    config.model.update(stem_stride=2, widths=(24, 48, 96), convolutions=(1, 2, 3))
    config.train.update(epochs=300, batch_size=4, ema_decay=0.99)
    config.train.update(evaluate_every_epochs=10, checkpoint_every_epochs=10)


_VARIANTS = {"": _default, "paper": _paper, "demo": _demo, "demo-paper": _demo_paper, "lidc": _lidc}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration of a variant (see the module's docstring), locked: a typo is refused."""
    if arg not in _VARIANTS:
        names = ", ".join(repr(name) for name in _VARIANTS if name)
        raise ValueError(f"configs/vnet.py has no variant {arg!r}; choose one of {names}.")
    config = _base()
    _VARIANTS[arg](config)
    return config.lock()
