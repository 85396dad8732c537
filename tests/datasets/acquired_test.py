"""How a DICOM scan was acquired is in the table of the built crops; of other formats nothing is."""

import numpy as np
import pandas as pd

from datasets import build
from dtc_jax.imaging import volume
from tests.dicom_files import make_slices, save_slices


def test_the_built_table_has_what_the_headers_say(cohort, config, tmp_path):
    table = pd.read_csv(cohort)
    scan = volume.read_image(cohort.parent / "p1.nii.gz")
    folder = cohort.parent / "p1"
    save_slices(make_slices(scan, KVP="120", ConvolutionKernel="B30f"), folder)
    table.loc[table.patient_id == "p1", "image"] = "p1"
    table.to_csv(cohort, index=False)
    built = pd.read_csv(build.build("lesion_crops", config, tmp_path / "data") / "lesions.csv")
    assert built.lesion_id.tolist() == ["a1", "b1", "b2", "c1", "d1"]
    of_dicom = built.lesion_id.isin(["b1", "b2"]).to_numpy()
    np.testing.assert_array_equal(built.kvp.notna(), of_dicom)
    assert set(built.kernel[of_dicom]) == {"B30f"}
    assert set(built.pixel_mm[of_dicom]) == {1.0}
