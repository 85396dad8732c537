"""Chests with two nodules each, and a small network that nobody has trained."""

import jax
import numpy as np
import pandas as pd
import pytest

from configs import vnet
from dtc_jax.imaging import volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.tasks import segmentation
from dtc_jax.tasks.trained import Member, TrainedNetwork
from tests import chests
from tests.chests import AFFINE, SHAPE


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    """Three patients with a scan each, and two numbered nodules in every scan."""
    folder = tmp_path_factory.mktemp("scans")
    rows = []
    for i in range(3):
        hu = chests.empty()
        labels = np.zeros(SHAPE, np.uint8)
        for number, center in ((1, (14 + i, 28, 18)), (2, (18, 20, 46))):
            labels[chests.ball(center, 12.0)] = number
            rows.append((f"p{i}", f"p{i}-{number}", f"{i}.nii", f"{i}-mask.nii", number))
        hu[labels > 0] = 30
        volume.write(folder / f"{i}.nii", Volume(hu, AFFINE))
        volume.write(folder / f"{i}-mask.nii", Volume(labels, AFFINE))
    columns = ["patient_id", "lesion_id", "image", "mask", "mask_label"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "lesions.csv", index=False)
    return folder / "lesions.csv"


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    config = vnet.get_config("demo").unlock()
    config.data.folder = str(tmp_path_factory.mktemp("data"))
    config.model.update(widths=(4, 8), convolutions=(1, 1))
    config.preprocess.update(crop_mm=(32, 32, 32), spacing_mm=4.0)
    config.predict.update(crop_mm=(96, 96, 96), batch_size=2, mirror=False)
    return config


@pytest.fixture(scope="session")
def network(config):
    init = segmentation.make_task(config).init
    params, batch_stats = jax.device_get(jax.jit(init)(jax.random.key(0)))
    return TrainedNetwork(segmentation.DEFINITION, (Member(config, params, batch_stats, {}),))
