"""A cohort of small chests, and a pipeline that was trained and judged on it."""

import numpy as np
import pandas as pd
import pytest

from configs import pipeline as pipeline_config
from dtc_jax.imaging import volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.runs import pipeline
from tests import chests
from tests.chests import AFFINE, SHAPE

PATIENTS, EXTERNAL, UNLABELLED = 14, 2, 1
HEALTHY = {"h0": "primary", "h1": "primary", "h2": "primary", "h3": "primary", "h4": "external"}


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """A chest a patient, two nodules in each; those of odd patients are larger, and refractory.

    There are patients without a nodule, and p15 has a second scan without one.
    """
    folder = tmp_path_factory.mktemp("cohort")
    rows = []
    empty = ["p15", *HEALTHY]
    for i in range(PATIENTS + EXTERNAL + UNLABELLED + len(empty)):
        hu = chests.empty()
        if i >= PATIENTS + EXTERNAL + UNLABELLED:
            name = empty[i - PATIENTS - EXTERNAL - UNLABELLED]
            rows.append((name, "", f"{i}.nii", "", "", "", HEALTHY.get(name, "external")))
            hu[15, 25, 15:20] = 30 + i  # a vessel, another one in each
            volume.write(folder / f"{i}.nii", Volume(hu, AFFINE))
            continue
        labels = np.zeros(SHAPE, np.uint8)
        for number, center in ((1, (14 + i % 4, 28, 18)), (2, (18, 20, 46))):
            labels[chests.ball(center, 10.0 + 5 * (i % 2) + number)] = number
            label = "" if i >= PATIENTS + EXTERNAL else i % 2
            kind = "external" if PATIENTS <= i < PATIENTS + EXTERNAL else "primary"
            ids = (f"p{i:02d}", f"p{i:02d}-{number}", f"{i}.nii", f"{i}-mask.nii", number)
            rows.append((*ids, label, kind))
        hu[labels > 0] = 30
        volume.write(folder / f"{i}.nii", Volume(hu, AFFINE))
        volume.write(folder / f"{i}-mask.nii", Volume(labels, AFFINE))
    columns = ["patient_id", "lesion_id", "image", "mask", "mask_label", "label", "cohort"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "lesions.csv", index=False)
    return folder / "lesions.csv"


@pytest.fixture(scope="session")
def config(cohort):
    config = pipeline_config.get_config("demo").unlock()
    config.data.update(source="manifest", manifest=str(cohort), folder=str(cohort.parent / "data"))
    config.segmenter.data.size_mm = (96, 96, 96)
    config.segmenter.model.update(widths=(4, 8), convolutions=(1, 1))
    config.segmenter.preprocess.update(crop_mm=(32, 32, 32), spacing_mm=4.0)
    # An untrained network finds something almost everywhere, which takes long to classify.
    config.segmenter.predict.update(
        crop_mm=(96, 96, 96), batch_size=8, threshold=0.65, min_volume_mm3=200.0
    )
    config.segmenter.train.update(epochs=2, batch_size=8, evaluate_every_epochs=1)
    config.classifier.model.update(width=4, stages=1)
    config.classifier.preprocess.update(crop_mm=(32, 32, 32), spacing_mm=2.0)
    config.classifier.train.update(epochs=2, batch_size=8, evaluate_every_epochs=1)
    config.classifier.predict.batch_size = 8
    config.classifier.write_report = False
    return config


@pytest.fixture(scope="session")
def run(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline") / "run"
    pipeline.run(config, folder)
    return folder
