"""SE-Net as a second look: which findings of a segmenter are nodules, and which are not?

    python launch.py --mode=evaluate --workdir=RUN --scans=CSV
    python launch.py --config=configs/candidates.py[:VARIANT] \
      --config.data.segmenter=RUN --config.data.manifest=CSV [--config.split.folds=K]

RUN is the run of a segmenter and K its number of folds; CSV lists the scans that it is evaluated on
first. Its findings in them are the examples. The result is given as --candidates to predict and to
evaluate.

(none): a network of width 16, 40 epochs.
    python launch.py --config=configs/candidates.py --config.data.segmenter=RUN \
      --config.data.manifest=CSV
    24 min on two busy cores for the five folds of vnet:chests. In four whole scans, sensitivity
    at 1 false finding a scan rises from .17 to .67 (n 6); 34.8 false ones a scan are above the
    threshold, where the segmenter alone has 57.8.

demo: a smaller one, for a first look.
    python launch.py --config=configs/candidates.py:demo --config.data.segmenter=RUN \
      --config.data.manifest=CSV
    Under a minute for a hundred findings. Not measured.
"""

import ml_collections

from configs import common, senet


def _default(config: ml_collections.ConfigDict) -> None:
    config.task = "candidates"
    config.data.unlock()
    config.data.update(source="segmenter", segmenter="", size_mm=(40, 40, 40))
    config.preprocess.update(crop_mm=(32, 32, 32), mask="channel")
    config.augment.update(rotate_deg=(20.0, 20.0, 20.0), shift_mm=3.0)
    config.model.update(width=16, stages=3, stem_stride=2, dropout=0.2)
    config.optimizer.learning_rate = 3e-3
    config.train.update(
        epochs=40, evaluate_every_epochs=4, checkpoint_every_epochs=20, monitor="loss"
    )
    config.threshold = "false_positives:4"  # a whole scan of validation, at the most
    config.write_report = False


def _demo(config: ml_collections.ConfigDict) -> None:
    _default(config)
    config.model.width = 8
    config.train.epochs = 20


_VARIANTS = {"": _default, "demo": _demo}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration of a variant (see the module's docstring), locked: a typo is refused."""
    return common.choose("configs/candidates.py", senet.base, _VARIANTS, arg)
