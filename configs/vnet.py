"""SE V-Net, the segmenter of lung metastases.

    python launch.py --config=configs/vnet.py[:VARIANT] [--workdir=DIR] [--config.a.b=VALUE …]

Times are those of two CPU cores. Dice is the mean over the test patches that show a lesion, with a
95 % interval clustered by patient; `dice_bright` is a density threshold about the patch's middle.

(none): a lighter network by Dice and cross-entropy, AdamW, on a phantom cohort of 120 patients.
    python launch.py --config=configs/vnet.py
    About 18 hours by its own estimate, so use an accelerator. Not measured.

paper: as the study: V-Net as published, 44 million parameters, 1 - Dice, Adam, 0.01, 320 epochs; on
the same cohort.
    python launch.py --config=configs/vnet.py:paper
    About 34 days by its own estimate, so use an accelerator. Not measured; the study reports
    .821 on its own patients.

study: `paper` on the first 187 patients, split about 932 to 343 by lesion, as the study counts
them. That is optimistically biased: metrics.json says how many patients are on both sides.
    python launch.py --config=configs/vnet.py:study --config.data.source=manifest \
      --config.data.manifest=CSV
    Not measured: about 34 days on a CPU. The bias of such a split is measured by
    python launch.py --mode=leakage --config=configs/vnet.py:demo

demo: a small network on a phantom cohort of 40 patients.
    python launch.py --config=configs/vnet.py:demo [--config.train.epochs=320]
    7 min in 320 epochs: 52 patches of 12 patients, Dice .723 (.627–.818), median .842;
    `dice_bright` .639 (.533–.744) (2026-11-29). In the 20 epochs of the default, 2 min: .373
    (.258–.488), n = 50 (2026-11-28).

demo-paper: the network of `demo`, trained as `paper`.
    python launch.py --config=configs/vnet.py:demo-paper
    320 epochs as well. On 2026-11-26, before patches became windows of the scan's own grid, Dice
    .764 (.685–.842), median .879, n = 47; `demo` had .817 then.

lidc: cubes of 51 mm about the nodules of LIDC-IDRI, on a patient-wise hold-out.
    DTC_JAX_DATA=DIR python launch.py --config=configs/vnet.py:lidc
    35 min. 27 test cubes: Dice .679 (.608–.750), median .729; `dice_bright` .560 (.495–.625)
    (2026-11-28). Two readers of such a nodule agree with .807. Own cubes:
    --config.data.manifest=CSV.

start: the same network on a phantom cohort of 40 patients, as a start for `lidc` or `chests` where
patients are few.
    python launch.py --config=configs/vnet.py:start
    17 min on a busy machine, 76 patches of 12 patients: Dice .668 (.554–.781), median .820;
    `dice_bright` .561 (.445–.677) (2026-11-28).

chests: the same network on those cubes and on whole chests, in five folds by person: patches from
all over the lungs, nodules of the cubes set into them, and hard negatives.
    python benchmarks/chests_manifest.py DATA FOLDER
    python launch.py --config=configs/vnet.py:chests --config.data.manifest=FOLDER/chests.csv \
      --config.init_from=runs/vnet-start
    python launch.py --mode=evaluate --workdir=runs/vnet-chests --scans=FOLDER/chests.csv
    2 h on a busy machine. 96 held-out nodules, 90 of them in cubes: Dice .549 (.491–.607), median
    .635; `dice_bright` .510 (.468–.552) (2026-11-29). Still too few steps: raise train.epochs.

lungs: `nodules` trained further in real whole lungs, some of them seen as in slices of up to 5 mm.
    python -m benchmarks.lungs_manifest DATA FOLDER runs/vnet-nodules
    python launch.py --config=configs/vnet.py:lungs --config.data.manifest=FOLDER/lungs.csv \
      --config.init_from=runs/vnet-nodules
    16 min, four networks, each judged on the chest that it has not seen: 5 of 6 lesions at 17
    (0–43.1) false findings a chest, where `nodules` has 91 (2026-11-29).

nodules: the same network on simulated chests and on nodules of LIDC-IDRI, which are set into the
simulated lungs: what weights that may be passed on are trained on.
    python -m benchmarks.nodules_manifest DATA FOLDER
    python launch.py --config=configs/vnet.py:nodules --config.data.manifest=FOLDER/nodules.csv
    70 min on a busy machine. 88 cubes of whole tissue, of other persons: Dice .460 (.394–.525),
    median .574 (2026-12-01, python -m benchmarks.cut_tightly DATA runs/vnet-nodules).

`lidc` looks for its data in the folder that the environment variable DTC_JAX_DATA
names. More on each figure: docs/results.md.
"""

import ml_collections

from configs import common


def _base() -> ml_collections.ConfigDict:
    config = common.start("segmentation")
    config.data = common.data(  # a third source is 'cubes', cut out already
        size_mm=(56, 80, 80),  # of a stored patch: the network's, with a margin; see spacing_mm
        lesion_share=0.5,  # of the patches; the others are drawn from the lung field,
        vessel_share=0.5,  # this share of them about dense tissue
        border_share=0.0,  # and this share at its border: pleura, diaphragm, hila
        other_per_scan=0,  # at least so many of them from each whole scan
        seed=0,  # of what is drawn
        exclude_patients=(),  # ids of those to leave out
    )
    config.split = common.split()
    config.preprocess = {
        "crop_mm": (40, 56, 56),  # of a training patch
        "spacing_mm": 1.0,
        "window": (-1000.0, 400.0),  # HU
        "antialias": "gaussian",  # of scans finer than the grid; or 'none'
    }
    config.augment = common.augment(
        rotate_deg=(20.0, 20.0, 20.0),
        shift_mm=8.0,
        scale=0.15,
        hu_shift=30.0,
        noise_hu=30.0,
        interpolation="sharp",  # 'linear' takes half of the noise away
        set_in=0.0,  # share of patches without lesion that get one of another patch
        resettle=0.0,  # share of tightly cut cubes whose lesion is seen in another patch instead
        thick_slices=0.0,  # share of patches seen as in thicker slices,
        thickest_mm=5.0,  # of this thickness at most
    )
    config.model = {
        "widths": (16, 32, 64, 128),
        "convolutions": (1, 2, 2, 2),
        "kernel_size": 3,
        "stem_stride": 1,  # 2 computes on half the grid
        "se": "both",  # or 'encoder', 'decoder', 'none'
        "se_ratio": 4,
        "residual": True,
        "norm": "batch",
        "activation": "relu",
        "up": "transposed",
        "deep_supervision": False,
        "dtype": "float32",
        "conv": "auto",
        "remat": False,
    }
    config.loss = {
        "name": "dice_cross_entropy",  # or 'dice', 'tversky', 'focal_tversky'
        "smoothing": 1.0,  # voxels
        "alpha": 0.3,  # of Tversky: weight of false positives
        "beta": 0.7,  # and of false negatives
        "gamma": 4 / 3,
        "empty": "count",  # or 'skip': what overlap makes of patches without lesion
    }
    config.optimizer = common.optimizer(learning_rate=3e-3, warmup_fraction=0.05, weight_decay=0.01)
    config.train = common.train(
        epochs=100,
        batch_size=8,
        checkpoint_every_epochs=5,
        log_every_steps=0,  # 0 is once an epoch
        monitor="dice",  # or 'loss'; of the validation split
        hard_negatives={
            "rounds": 0,  # of segmenting the whole training scans; what is found wrongly is learned
            "after_epochs": 20,  # of training, each
            "per_scan": 40,  # patches at most, the most certain first
            "share": 0.5,  # of the patches without lesion that give way to them
        },
    )
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
        "lesion_threshold": 0.0,  # of a finding's highest probability; lower ones are folded away
    }
    # Name -> fields in which a candidate differs. Where there are any, each split trains all of
    # them and keeps the best on its own validation rows.
    config.candidates = {}
    return config


def _default(config: ml_collections.ConfigDict) -> None:
    """Lighter than V-Net as published, and with a loss that also learns from empty patches."""


def _paper(config: ml_collections.ConfigDict) -> None:
    """The study's training, and V-Net as published (Milletari et al. 2016), with SE blocks.

    Of its network the study says no more than the name. The fields marked as a reading are stated
    neither there nor in the publication of V-Net.
    """
    _as_published(config)
    config.model = {
        "widths": (16, 32, 64, 128, 256),
        "convolutions": (1, 2, 3, 3, 3),
        "kernel_size": 5,
        "stem_stride": 1,
        "se": "both",  # a reading: where the SE blocks stand is not stated
        "se_ratio": 4,  # a reading: that of the classifier
        "residual": True,
        "norm": "batch",  # a reading
        "activation": "prelu",
        "up": "transposed",
        "deep_supervision": False,
        "dtype": "float32",
        "conv": "auto",  # how it is computed, not what
        "remat": False,  # saves memory for time
    }


def _as_published(config: ml_collections.ConfigDict) -> None:
    """1 - Dice, Adam, 0.01, 320 epochs."""
    config.loss.name = "dice"
    config.optimizer.update(
        name="adam", learning_rate=0.01, schedule="constant", warmup_fraction=0.0, clip_norm=0.0
    )
    config.train.update(epochs=320, ema_decay=0.0)


def _study(config: ml_collections.ConfigDict) -> None:
    """About the study's 932 lesions to train and 343 to validate, of its first 187 patients.

    Split by lesion, which is how the study counts them: a reading. Nothing is chosen on the 343.
    """
    _paper(config)
    config.data.phantom.patients = 187
    config.split.update(
        kind="two_part", unit="lesion", first_patients=187, test_fraction=343 / 1275
    )


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
    config.data.manifest = common.real_data("lidc_patches/patches.csv")
    config.data.about = "Trained on lung nodules, not on metastases of thyroid cancer."
    # Its nodule is also in lidc_ct, a whole scan on which the trained segmenter is evaluated.
    config.data.exclude_patients = ("LIDC-feup-0",)
    config.preprocess.crop_mm = (48, 48, 48)
    config.predict.crop_mm = (51, 51, 51)
    config.augment.shift_mm = 10.0  # the nodules lie in the middle, which must not be learnt
    config.augment.resampled = 0.5  # these cubes are seen as they are stored
    config.model.update(stem_stride=2, widths=(24, 48, 96), convolutions=(1, 2, 3))
    config.train.update(epochs=300, batch_size=4, ema_decay=0.99)
    config.train.update(evaluate_every_epochs=10, checkpoint_every_epochs=10)


def _start(config: ml_collections.ConfigDict) -> None:
    _lidc(config)
    config.data.update(source="phantom", manifest="", exclude_patients=(), size_mm=(68, 68, 68))
    config.data.about = ""
    config.data.phantom.update(patients=40, external_patients=0)
    config.predict.crop_mm = (48, 48, 48)
    config.train.update(epochs=18, evaluate_every_epochs=9, checkpoint_every_epochs=9)


def _chests(config: ml_collections.ConfigDict) -> None:
    _lidc(config)
    config.data.update(source="manifest", manifest="", exclude_patients=())
    config.data.update(other_per_scan=20, vessel_share=0.4, border_share=0.3)
    config.split.folds = 5
    config.augment.update(set_in=0.5, resettle=1.0)
    config.train.update(epochs=32, evaluate_every_epochs=4, checkpoint_every_epochs=4)
    config.train.monitor = "loss"  # Dice does not see what is found in patches without a lesion
    config.train.hard_negatives.update(rounds=1, after_epochs=16)


def _nodules(config: ml_collections.ConfigDict) -> None:
    _chests(config)
    config.data.other_per_scan = 24  # as many as there are nodules to be set into them
    config.split.update(folds=0, test_fraction=0.15)  # the more to train on
    config.train.update(epochs=12, evaluate_every_epochs=1, checkpoint_every_epochs=1)
    # The validation nodules are cut out tightly, which no lesion in a scan is.
    config.train.keep = "last"
    config.train.hard_negatives.update(after_epochs=6, per_scan=20)


def _lungs(config: ml_collections.ConfigDict) -> None:
    _nodules(config)
    config.split.kind = "column"  # of lungs.csv: that of the run to start from
    config.data.other_per_scan = 250  # there are few scans, and lungs are large
    config.augment.update(thick_slices=0.4)
    config.optimizer.learning_rate = 1e-3
    config.train.epochs = 4
    config.train.hard_negatives.update(rounds=2, after_epochs=1, per_scan=150)


_VARIANTS = {
    "": _default,
    "paper": _paper,
    "study": _study,
    "demo": _demo,
    "demo-paper": _demo_paper,
    "lidc": _lidc,
    "start": _start,
    "chests": _chests,
    "nodules": _nodules,
    "lungs": _lungs,
}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration of a variant (see the module's docstring), locked: a typo is refused."""
    return common.choose("configs/vnet.py", _base, _VARIANTS, arg)
