"""Segmenter and classifier on one split of the patients, judged together.

    python launch.py --mode=pipeline --config=configs/pipeline.py[:VARIANT] [--workdir=DIR]

| variant | trains | on |
|---|---|---|
| (none) | the default segmenter, the paper's classifier | a phantom cohort of 120 patients |
| `demo` | both small, in seven minutes on two CPU cores | a phantom cohort of 60 patients |

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
