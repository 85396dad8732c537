"""A patch predicted as a patch is the same window of the whole scan."""

import jax
import numpy as np
import pytest

from configs import vnet
from dtc_jax.crops import extraction, patches, record
from dtc_jax.imaging import grid, volume
from dtc_jax.imaging.volume import Volume
from dtc_jax.networks.segmenter import make_segmenter
from dtc_jax.tasks import segmentation
from dtc_jax.tasks.trained import Member, TrainedNetwork

SCANS = {  # spacing in mm, voxels; of an axial scan that is tilted a little
    "isotropic": ((1.0, 1.0, 1.0), (50, 60, 63)),
    "finer than the grid": ((1.0, 0.7, 0.7), (51, 90, 86)),
    "slices of 2.5 mm": ((2.5, 0.7, 0.7), (24, 81, 90)),
    "slices of 5 mm": ((5.0, 0.8, 0.8), (14, 80, 75)),
}
GRIDS_MM = (1.0, 2.0)


@pytest.fixture(scope="module", params=GRIDS_MM)
def trained(request):
    """A small network with random parameters, and its configuration."""
    config = vnet.get_config("demo")
    side = 16 * request.param
    config.data.size_mm = (int(1.5 * side),) * 3
    config.preprocess.update(crop_mm=(side,) * 3, spacing_mm=request.param)
    config.predict.crop_mm = (side,) * 3
    with config.unlocked():
        config.model.update(widths=(4, 8), convolutions=(1, 1))
    variables = jax.jit(segmentation.make_task(config).init)(jax.random.key(1))
    return TrainedNetwork(segmentation.DEFINITION, (Member(config, *variables, {}),))


@pytest.mark.parametrize("name", SCANS)
def test_a_patch_is_a_window_of_the_whole_scan(trained, name, tmp_path):
    config = trained.config
    spacing_mm, shape = SCANS[name]
    rng = np.random.default_rng(0)
    tilt = np.array([[0.02, -0.03, 1.0], [-0.02, 1.0, 0.03], [1.0, 0.02, -0.02]])
    affine = np.eye(4)
    affine[:3, :3] = tilt / np.linalg.norm(tilt, axis=0) * spacing_mm
    affine[:3, 3] = (-20, 31, 7)
    hu = np.rint(np.clip(rng.normal(-600, 200, shape), -1400, None)).astype(np.int16)
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(n // 3, n // 3 + 3 + k) for k, n in enumerate(shape))] = 1
    labels[tuple(slice(n // 2, n // 2 + 4) for n in shape)] = 2
    labels[tuple(slice(0, 3) for _ in shape)] = 3  # its patch reaches beyond the scan
    volume.write(tmp_path / "ct.nii", Volume(hu, affine))
    volume.write(tmp_path / "mask.nii", Volume(labels, affine))
    lesions = [record.Lesion("p", f"l{i}", str(tmp_path / "mask.nii"), i) for i in (1, 2, 3)]
    spec = segmentation.make_predict_preprocess(config)
    params = patches.PatchParams(
        config.data.size_mm, spacing_mm=spec.spacing_mm, antialias=spec.antialias, lesion_share=1.0
    )
    scan = extraction.Scan(str(tmp_path / "ct.nii"), tuple(lesions))
    records = patches.cut(patches.parts([scan], params)[0], params)
    assert len(records) == 3
    segmenter = make_segmenter(trained)
    seen = grid.to_grid(volume.read_image(scan.image), segmenter.spec)
    for one in records:
        as_patch = trained.probability(one["image"][None], one["mask"][None])[0]
        place = grid.nearest(seen, one["center_mm"])
        window, _ = grid.window(seen.array, place, spec.shape)
        np.testing.assert_allclose(as_patch, segmenter.predict(window[None])[0], atol=1e-5)
        assert np.asarray(as_patch).std() > 1e-3  # it sees something
