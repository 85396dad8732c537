"""Segmenter and classifier on one split of the patients, evaluated together.

    python launch.py --mode=pipeline --config=configs/pipeline.py[:VARIANT] [--workdir=DIR]

(none): the default segmenter and the study's classifier on a phantom cohort of 120 patients.
    python launch.py --mode=pipeline --config=configs/pipeline.py
    About 26 hours by their own estimates, so use an accelerator. Not measured.

demo: both small, on a phantom cohort of 60 patients.
    python launch.py --mode=pipeline --config=configs/pipeline.py:demo
    7 min on two busy CPU cores. 46 lesions of 15 patients: AUC .811 (.556–.937) on manual regions,
    .743 (.612–.841) end to end, a missed lesion ranking below all others; 35 of the lesions are
    found, with Dice .785 and .07 false positives a scan. (Before patches became windows of the
    scan's own grid; expect other figures.)

Own scans: `--config.data.source=manifest --config.data.manifest=CSV`. Fields of the networks are
those of configs/vnet.py and configs/senet.py: `--config.segmenter.train.epochs=40`.
"""

import ml_collections

from configs import senet, vnet


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration of a variant (see the module's docstring), locked: a typo is refused."""
    if arg not in ("", "demo"):
        raise ValueError(f"configs/pipeline.py has no variant {arg!r}; choose 'demo'.")
    config = ml_collections.ConfigDict()
    config.task = "pipeline"
    config.seed = 0  # of the perturbed regions
    config.segmenter, config.classifier = vnet.get_config(arg), senet.get_config(arg)
    if arg == "demo":
        config.segmenter.train.epochs = 80  # after the 20 of its own demo it finds next to nothing
    # Both networks' data and split are these; what they say of them themselves does not count.
    config.data = {
        name: config.classifier.data[name] for name in ("source", "folder", "manifest", "phantom")
    }
    config.split = config.classifier.split.copy_and_resolve_references()
    # Regions as another reader might have drawn them: on the phantom, mean Dice .82 with the manual
    # ones (the study's segmenter reached .821).
    config.perturb = {"shift_mm": 0.4, "grow_mm": 0.3}
    return config.lock()
