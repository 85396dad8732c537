"""SE-Net, the lesion classifier: is this lung metastasis RAI-refractory?

    python launch.py --config=configs/senet.py[:VARIANT] [--workdir=DIR] [--config.a.b=VALUE …]

| variant | trains | on |
|---|---|---|
| (none) | the paper's network, width 64 | a phantom cohort of 120 patients |
| `demo` | a small network, in two minutes on two CPU cores | a phantom cohort of 60 patients |
| `lidc` | patient-wise five-fold cross-validation | lung nodules, `--config.data.manifest=CSV` |
| `adrenal` | on the official split | AdrenalMNIST3D 64, `--config.data.npz=NPZ` |

The last two look for their data in the folder that the environment variable DTC_JAX_DATA names.
"""

import os

import ml_collections

_DATA = os.environ.get("DTC_JAX_DATA", "$DTC_JAX_DATA")


def _base() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.task = "classification"
    config.seed = 0
    config.parallel = "jit"  # or 'pmap': the same step, mapped over devices by hand
    config.data = {
        "source": "phantom",  # or 'manifest' (scans and a CSV) or 'medmnist3d' (an npz)
        "folder": "data",  # generated and built data
        "manifest": "",
        "npz": "",
        "size_mm": (48, 72, 72),  # of a stored crop: the network's, with a margin for augmentation
        "workers": 2,  # reading threads
        "cache": True,  # keep the decoded records in memory
        "phantom": {"patients": 120, "external_patients": 16, "seed": 0},
    }
    config.selection = {"per_patient": 5, "draw_cohorts": ("primary",), "seed": 0}
    config.split = {
        "cohort": "primary",  # lesions of every other cohort are test only
        "kind": "holdout",  # 'temporal', 'center', 'column' or 'file'; k-fold where folds > 0
        "unit": "patient",  # 'lesion' leaks: only to measure by how much it flatters
        "folds": 0,
        "seed": 0,
        "test_fraction": 0.3,
        "validation_fraction": 0.15,
        "center": "",  # the centre left out, where kind is 'center'
        "file": "",  # a CSV of patient_id and split, where kind is 'file'
    }
    config.preprocess = {
        "crop_mm": (32, 48, 48),
        "spacing_mm": 1.0,
        "window": (-1000.0, 400.0),  # HU
        "mask": "none",  # 'channel': as a second channel; 'apply': all outside it is set to 0
    }
    config.augment = {  # strengths; 0 is off
        "flip": (0.5, 0.5, 0.5),
        "rotate_deg": (15.0, 0.0, 0.0),
        "shift_mm": 2.0,
        "scale": 0.1,
        "resampled": 1.0,  # share of the examples; the others keep their voxels
        "interpolation": "linear",  # of those resampled; or 'sharp', which blurs less
        "hu_shift": 20.0,
        "hu_scale": 0.05,
        "noise_hu": 20.0,
        "visible_extent": (0.0, 0.0, 0.0),
    }
    config.model = {
        "width": 64,
        "stages": 4,
        "stem": True,
        "stem_stride": 1,
        "add": "before_pool",
        "pool_window": (2, 2, 2),
        "pool_last": True,
        "projection_bias": False,
        "conv_bias": False,
        "norm": "batch",
        "se_ratio": 4,
        "dropout": 0.0,
        "dtype": "float32",
        "conv": "auto",
    }
    config.loss = {"class_weight": "balanced", "label_smoothing": 0.0}
    config.optimizer = {
        "name": "adamw",
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "warmup_fraction": 0.1,
        "weight_decay": 0.05,
        "clip_norm": 1.0,
        "momentum": 0.9,
    }
    config.train = {
        "epochs": 60,
        "batch_size": 16,
        "evaluate_every_epochs": 1,
        "checkpoint_every_epochs": 1,
        "log_every_steps": 10,
        "patience": 0,  # evaluations without improvement before stopping; 0 is off
        "ema_decay": 0.98,
        "monitor": "auc",  # or 'loss'; of the validation split
    }
    config.predict = {"batch_size": 16, "mirror": True}  # mirror: mean over the mirror images
    # Name -> fields in which a candidate differs. Where there are any, each split trains all of
    # them and keeps the best on its own validation rows.
    config.candidates = {}
    config.threshold = "youden"  # chosen on validation; or 'fixed:0.5', 'sensitivity:0.9', …
    config.write_report = True  # of every training; in a sweep its seconds add up
    config.report = {
        "patient_truth": "any",  # or 'all': of a patient's lesions must be refractory
        "diameter_rounding": "nearest",  # or 'down': to the whole mm of the size groups
        "margin": 0.05,  # of non-inferiority, in AUC
    }
    return config


def _paper(config: ml_collections.ConfigDict) -> None:
    """The study's network on the phantom cohort."""


def _demo(config: ml_collections.ConfigDict) -> None:
    config.data.phantom.update(patients=60, external_patients=12)
    config.data.size_mm = (40, 40, 40)
    config.preprocess.update(crop_mm=(32, 32, 32), mask="channel")
    config.model.update(width=8, stem_stride=2, dropout=0.2)
    config.optimizer.learning_rate = 3e-3
    config.train.update(
        epochs=40, evaluate_every_epochs=4, checkpoint_every_epochs=20, monitor="loss"
    )


def _lidc(config: ml_collections.ConfigDict) -> None:
    config.data.update(source="manifest", size_mm=(48, 48, 48))
    config.data.manifest = f"{_DATA}/lidc_nodules/lesions.csv"
    config.selection.draw_cohorts = ()
    config.split.folds = 5
    config.preprocess.mask = "channel"
    # Along z, where the boxes are tight. Half the examples keep their extent, as those that are
    # predicted do: hiding more of the surroundings made validation worse.
    config.augment.update(visible_extent=(0.5, 0.0, 0.0), rotate_deg=(30.0, 10.0, 10.0), scale=0.15)
    config.model.update(stem_stride=2, dropout=0.3)
    config.loss.label_smoothing = 0.1
    config.optimizer.learning_rate = 3e-3
    config.train.update(
        epochs=20, evaluate_every_epochs=2, checkpoint_every_epochs=4, monitor="loss"
    )
    config.candidates = {
        "near": {"preprocess": {"crop_mm": (32, 32, 32)}, "model": {"width": 16}},
        "far": {"preprocess": {"crop_mm": (48, 48, 48), "spacing_mm": 1.5}, "model": {"width": 16}},
    }


def _adrenal(config: ml_collections.ConfigDict) -> None:
    config.data.update(source="medmnist3d", size_mm=(64, 64, 64))
    config.data.npz = f"{_DATA}/adrenalmnist3d/adrenalmnist3d_64.npz"
    config.selection.draw_cohorts = ()
    config.split.kind = "column"
    config.preprocess.update(crop_mm=(64, 64, 64), spacing_mm=2.0, window=(0.0, 255.0))
    config.augment.update(hu_shift=0.0, hu_scale=0.0, noise_hu=0.0)
    config.model.update(width=16, stem_stride=2, dropout=0.2)
    config.optimizer.learning_rate = 3e-3
    config.train.update(
        epochs=20, evaluate_every_epochs=2, checkpoint_every_epochs=4, log_every_steps=50
    )


_VARIANTS = {"": _paper, "demo": _demo, "lidc": _lidc, "adrenal": _adrenal}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration of a variant (see the module's docstring), locked: a typo is refused."""
    if arg not in _VARIANTS:
        names = ", ".join(repr(name) for name in _VARIANTS if name)
        raise ValueError(f"configs/senet.py has no variant {arg!r}; choose one of {names}.")
    config = _base()
    _VARIANTS[arg](config)
    return config.lock()
