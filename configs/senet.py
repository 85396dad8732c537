"""SE-Net, the lesion classifier: is this lung metastasis RAI-refractory?

    python launch.py --config=configs/senet.py[:VARIANT] [--workdir=DIR] [--config.a.b=VALUE …]

Times are those of two CPU cores. AUCs are those of test lesions with 95 % intervals that are
clustered by patient; `features` is a random forest on size, shape and density of the same lesions.

(none): the study's network, width 64, on a phantom cohort of 120 patients, cut to its field of
view of 32 × 48 × 48 mm.
    python launch.py --config=configs/senet.py
    About 8 hours by its own estimate, so use an accelerator. Not measured.

demo: a small network on a phantom cohort of 60 patients.
    python launch.py --config=configs/senet.py:demo
    45 s to 3 min, by what else the machine does. 46 lesions of 15 patients: AUC .811 (.556–.937),
    .764 (.492–.915), .712 (.500–.860), .813 (.551–.939) and .790 (.535–.925) on five machines;
    `features` .859; attainable .955.

lidc: five folds by patient on the nodules of LIDC-IDRI, malignant or benign. Four networks a fold,
with a near and a far field of view, with dropout and without, decide together. They learn the
readers' mean rating and four further ratings of the training nodules beside the class; image and
mask are all they are given.
    DTC_JAX_DATA=DIR python launch.py --config=configs/senet.py:lidc
    40 min on one busy core. 690 nodules of 399 patients: AUC .940 (.920–.956), accuracy .862;
    `features` .934 (.912–.951), accuracy .849. In ten folds, of two networks each, before
    2026-11-30: AUC .938 (.916–.954), accuracy .870; `features` .938, accuracy .841.

nodules: the same for own nodules, which have a label and no ratings.
    python launch.py --config=configs/senet.py:nodules --config.data.manifest=CSV
    Not measured. It takes as long as lidc for as many nodules.

few: for own lesions of few patients, most of them below 20 mm: a fine grid close about the lesion,
crops that are never interpolated, and size, margin and density of the lesion beside the image.
    python launch.py --config=configs/senet.py:few --config.data.manifest=CSV
    Fifteen networks, a minute each for 166 lesions on one quiet core. One network, on two phantoms
    of five cohorts of 51 patients each: AUC .920 and .921, `features` .910 and .913; on the nodules
    of `diagnosis` .625 (.505–.731), `features` .627 (2026-12-01).

start: one of these networks on a phantom cohort of 1400 patients, as a start for lidc, nodules or
diagnosis.
    python launch.py --config=configs/senet.py:start
    python launch.py --config=configs/senet.py:lidc --config.init_from=runs/senet-start
    15 min for the phantom and 13 on one core. 1122 lesions: AUC .933 (.916–.947), `features` .937.
    On validation nodules of lidc the start changes nothing.

diagnosis: the same for metastases of other cancers against other nodules, with four ratings of the
readers learned beside the class.
    python -m benchmarks.diagnosis_manifest DATA FOLDER
    python launch.py --config=configs/senet.py:diagnosis --config.data.manifest=FOLDER/diagnosis.csv
    166 nodules of 87 patients; two networks, before 2026-11-30: AUC .518 (.397–.637), chance. With
    --config.model.measures=16 --config.augment.resampled=0.0 .632 (.508–.741), 17 min on one busy
    core; `features` .627 (.500–.738).

adrenal: AdrenalMNIST3D, 64³ shape masks, on its official split.
    DTC_JAX_DATA=DIR python launch.py --config=configs/senet.py:adrenal
    17 min on one quiet core. 298 test cases: AUC .918 (.878–.947), with other seeds .916 and .912;
    `features` .872; accuracy .842 on average (published: .83). Another file: --config.data.npz=NPZ.

lidc and adrenal look for their data in the folder that the environment variable DTC_JAX_DATA names.
More on each figure: docs/results.md.
"""

import ml_collections

from configs import common

_RATINGS = ("subtlety", "texture", "spiculation", "margin")  # columns of LIDC-IDRI's readers


def base() -> ml_collections.ConfigDict:
    """The fields that all variants start from."""
    config = common.start("classification")
    config.data = common.data(
        npz="",  # of the source 'medmnist3d'
        size_mm=(48, 72, 72),  # of a stored crop: the network's, with a margin for augmentation
    )
    config.selection = {"per_patient": 5, "draw_cohorts": ("primary",), "seed": 0}
    config.split = common.split()
    config.preprocess = {
        "crop_mm": (32, 48, 48),
        "spacing_mm": 1.0,
        "window": (-1000.0, 400.0),  # HU
        "mask": "none",  # 'channel': as a second channel; 'apply': all outside it is set to 0
    }
    config.augment = common.augment(
        rotate_deg=(15.0, 0.0, 0.0),
        shift_mm=2.0,
        scale=0.1,
        hu_shift=20.0,
        noise_hu=20.0,
        mixup=0.0,
    )
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
        "se": True,
        "se_ratio": 4,
        "residual": True,
        "dropout": 0.0,
        "stochastic_depth": 0.0,
        "measures": 0,  # hidden units that see the size, margin and density of the lesion
        "dtype": "float32",
        "conv": "auto",
        "remat": False,
    }
    config.loss = {
        "class_weight": "balanced",
        "label_smoothing": 0.0,
        "graded": "",  # column of a finer version of the label
        "graded_range": (0.0, 1.0),  # its values that become 0 and 1
        "graded_share": 0.5,  # of it in the target; the rest is the label
        "auxiliary": {},  # column -> weight: ratings that are learned beside the class
        "unlabelled": False,  # whether lesions without a label teach these ratings, too
        "lesion_weight": "",  # column with the weight of each lesion
    }
    config.optimizer = common.optimizer(learning_rate=1e-3, warmup_fraction=0.1, weight_decay=0.05)
    config.train = common.train(
        epochs=60,
        batch_size=16,
        checkpoint_every_epochs=1,
        log_every_steps=10,
        monitor="auc",  # or 'accuracy', 'loss'; of the validation split
    )
    config.predict = {"batch_size": 16, "mirror": True}  # mirror: mean over the mirror images
    # Name -> fields in which a candidate differs. Where there are any, each split trains all of
    # them and keeps the best on its own validation rows.
    config.candidates = {}
    config.combine = "best"  # or 'mean': the candidates of a split decide together
    config.temperature = "none"  # or 'validation': the logits are calibrated on it
    config.threshold = "youden"  # chosen on validation; or 'fixed:0.5', 'sensitivity:0.9', …
    config.write_report = True  # of every training; in a sweep its seconds add up
    config.report = {
        "patient_truth": "any",  # or 'all': of a patient's lesions must be refractory
        "diameter_rounding": "nearest",  # or 'down': to the whole mm of the size groups
        "margin": 0.05,  # of non-inferiority, in AUC
    }
    return config


def _paper(config: ml_collections.ConfigDict) -> None:
    """The study's network, 14 509 297 parameters.

    The study gives the size of the crop, the four stages of 64 to 512 channels with two
    convolutions, an SE block, the addition and max-pooling, and the ratio 4 of the SE blocks. The
    fields marked as a reading are not stated, or are stated ambiguously.
    """
    config.preprocess = {
        "crop_mm": (32, 48, 48),
        "spacing_mm": 1.0,
        "window": (-1000.0, 400.0),  # a reading: "normalised to [0, 1]"
        "mask": "none",  # a reading: masked, or only centred on the lesion?
    }
    config.model = {
        "width": 64,
        "stages": 4,
        "stem": True,  # a reading: "the input layer consisted of 64 channels"
        "stem_stride": 1,
        "add": "before_pool",  # a reading
        "pool_window": (2, 2, 2),  # a reading: "2 × 2"
        "pool_last": True,  # a reading
        "projection_bias": False,  # a reading
        "conv_bias": False,  # a reading
        "norm": "batch",  # a reading
        "se": True,
        "se_ratio": 4,
        "residual": True,
        "dropout": 0.0,  # a reading
        "stochastic_depth": 0.0,
        "measures": 0,  # of the image alone
        "dtype": "float32",
        "conv": "auto",  # how it is computed, not what
        "remat": False,  # saves memory for time
    }


def _demo(config: ml_collections.ConfigDict) -> None:
    config.data.phantom.update(patients=60, external_patients=12)
    config.data.size_mm = (40, 40, 40)
    config.preprocess.update(crop_mm=(32, 32, 32), mask="channel")
    config.model.update(width=8, stem_stride=2, dropout=0.2)
    config.optimizer.learning_rate = 3e-3
    config.train.update(
        epochs=40, evaluate_every_epochs=4, checkpoint_every_epochs=20, monitor="loss"
    )


def _nodules(config: ml_collections.ConfigDict) -> None:
    config.data.update(source="manifest", size_mm=(48, 48, 48))
    config.data.about = (
        "Trained on lung nodules. Positive, 'refractory' on the page of an answer, is what the "
        "manifest labels 1: nothing here is about radioactive iodine."
    )
    config.selection.draw_cohorts = ()
    config.split.folds = 5
    config.preprocess.mask = "channel"
    # Along z, where the boxes are tight. Half the examples keep their extent, as those that are
    # predicted do: hiding more of the surroundings made validation worse.
    config.augment.update(
        visible_extent=(0.5, 0.0, 0.0),
        rotate_deg=(30.0, 10.0, 10.0),
        scale=0.15,
        resampled=0.5,
    )
    config.model.update(stem_stride=2, dropout=0.3)
    config.loss.label_smoothing = 0.1
    config.optimizer.learning_rate = 3e-3
    config.train.update(
        epochs=20, evaluate_every_epochs=2, checkpoint_every_epochs=4, monitor="loss"
    )
    near = {"crop_mm": (32, 32, 32)}
    far = {"crop_mm": (48, 48, 48), "spacing_mm": 1.5}
    # Whether dropout helps here is not known, so both kinds decide together.
    config.candidates = {
        f"{name}{kind}": {"preprocess": {**crop}, "model": {"width": 16, "dropout": dropout}}
        for kind, dropout in (("", 0.3), ("-no-dropout", 0.0))
        for name, crop in (("near", near), ("far", far))
    }
    config.combine = "mean"


def _few(config: ml_collections.ConfigDict) -> None:
    _demo(config)
    config.data.update(source="manifest", size_mm=(32, 32, 32))
    config.selection.draw_cohorts = ()
    config.split.folds = 5
    config.preprocess.crop_mm = (20, 20, 20)
    config.augment.resampled = 0.0
    config.model.update(stem_stride=1, measures=16)
    config.train.ensemble = 3


def _lidc(config: ml_collections.ConfigDict) -> None:
    _nodules(config)
    config.data.manifest = common.real_data("lidc_nodules/lesions.csv")
    config.data.about = (
        "Trained on lung nodules of LIDC-IDRI. Positive, 'refractory' on the page of an answer, is "
        "what readers would call malignant: nothing here is about radioactive iodine."
    )
    config.loss.unlock()
    config.loss.update(
        label_smoothing=0.0,
        graded="mean_malignancy_rating",
        graded_range=(1.0, 5.0),
        auxiliary=dict.fromkeys(_RATINGS, 0.1),
    )


def _start(config: ml_collections.ConfigDict) -> None:
    _nodules(config)
    config.candidates = {}
    config.combine = "best"
    config.data.update(source="phantom", about="")
    # Another seed than that of the other variants' cohorts.
    config.data.phantom.update(patients=1400, external_patients=0, seed=1000)
    config.selection.draw_cohorts = ("primary",)
    config.split.folds = 0
    config.preprocess.crop_mm = (32, 32, 32)
    config.model.width = 16
    config.train.epochs = 10  # about 2000 steps


def _diagnosis(config: ml_collections.ConfigDict) -> None:
    _nodules(config)
    config.data.about = (
        "Trained on lung nodules of LIDC-IDRI. Positive, 'refractory' on the page of an answer, is "
        "a metastasis of another cancer: nothing here is about radioactive iodine."
    )
    config.loss.unlock()
    config.loss.auxiliary = dict.fromkeys(_RATINGS, 0.1)


def _adrenal(config: ml_collections.ConfigDict) -> None:
    config.data.update(source="medmnist3d", size_mm=(64, 64, 64))
    config.data.about = "Trained on shapes of adrenal glands. Positive is an abnormal gland."
    config.data.npz = common.real_data("adrenalmnist3d/adrenalmnist3d_64.npz")
    config.selection.draw_cohorts = ()
    config.split.kind = "column"
    config.preprocess.update(crop_mm=(64, 64, 64), spacing_mm=2.0, window=(0.0, 255.0))
    config.augment.update(hu_shift=0.0, hu_scale=0.0, noise_hu=0.0)
    config.model.update(width=16, stem_stride=2, dropout=0.2)
    config.optimizer.learning_rate = 3e-3
    config.train.update(
        epochs=60, evaluate_every_epochs=6, checkpoint_every_epochs=4, log_every_steps=50
    )


_VARIANTS = {
    "": _paper,
    "demo": _demo,
    "lidc": _lidc,
    "nodules": _nodules,
    "few": _few,
    "start": _start,
    "diagnosis": _diagnosis,
    "adrenal": _adrenal,
}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration of a variant (see the module's docstring), locked: a typo is refused."""
    return common.choose("configs/senet.py", base, _VARIANTS, arg)
