"""DICOM in: nothing that its headers say of a patient comes out, and what is no CT is refused."""

import base64
import gzip
import os
import pathlib
import re
import warnings
import zlib

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom import uid

from dtc_jax.imaging import volume
from tests.dicom_files import change_one, enhance_slices, make_slices, save_slices
from tests.planted import DATE, NAME, REFERENCE, SECRETS, make_plants

REAL = os.environ.get("DTC_JAX_DATA")


@pytest.fixture(scope="module")
def plants():
    return make_plants()


@pytest.fixture
def planted(chests, plants):
    """The first chest as a series with a secret in every text."""
    slices = make_slices(volume.read_image(chests / "0.nii.gz"))
    for one in slices:
        one.update(plants)
    return slices


@pytest.fixture
def partly_planted(chests, plants):
    """The same, but with secrets in four slices alone, which are written faster."""
    slices = make_slices(volume.read_image(chests / "0.nii.gz"))
    same = pydicom.Dataset()  # in all slices, as acquisitions are told apart by it
    for keyword in ("AcquisitionTime", "ContentTime", "ConvolutionKernel"):
        same[keyword] = plants[keyword]
    for number, one in enumerate(slices):
        one.update(plants if number in (0, 3, 4, len(slices) - 1) else same)
    return slices


def _store(slices, folder):
    """Writes slices under names that give the patient away."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        return save_slices(slices, folder, NAME + "_1941_{:03d}.dcm")


def _contents(path: pathlib.Path) -> bytes:
    """The bytes of a file, and of what is packed in it."""
    data = path.read_bytes()
    if path.name.endswith(".gz"):
        return data + gzip.decompress(data)
    if path.suffix == ".html":
        blocks = [base64.b64decode(one) for one in re.findall(rb"[A-Za-z0-9+/]{400,}=*", data)]
        # Of a picture, what is packed follows the name of its part.
        starts = [one.find(b"IDAT") + 4 if one.startswith(b"\x89PNG") else 0 for one in blocks]
        packed = [one[start:] for one, start in zip(blocks, starts, strict=True)]
        return data + b"".join(zlib.decompressobj().decompress(one) for one in packed)
    return data


def _leaks(folder: pathlib.Path, secrets) -> set[tuple[str, str]]:
    """(file, secret) of all that is found in the files of a folder or in their names."""
    found = set()
    for path in filter(pathlib.Path.is_file, folder.rglob("*")):
        name = str(path.relative_to(folder))
        data = name.encode() + _contents(path)
        found |= {(name, secret) for secret in secrets if secret.encode() in data}
    return found


def test_the_search_finds_what_is_packed(answered):
    page = (answered / "review.html").read_bytes()
    shapes = re.findall(rb'"shape": \[(\d+), (\d+), (\d+)\]', page)
    voxels = sum(int(depth) * int(height) * int(width) for depth, height, width in shapes)
    assert len(_contents(answered / "review.html")) - len(page) > voxels > 0
    assert len(_contents(answered / "scan.nii.gz")) > 30 * 50 * 64 * 2


@pytest.mark.parametrize("many", [False, pytest.param(True, marks=pytest.mark.extras)])
def test_no_identity_comes_out(predict, call, planted, tmp_path, capfd, caplog, many):
    caplog.set_level("DEBUG")
    series = _store(planted, tmp_path / "ct")
    uids = [planted[0][keyword].value for keyword in sorted(REFERENCE)]
    out = tmp_path / "out"
    if many:
        (tmp_path / "scans.csv").write_text("image,patient_id\nct,P1\n")
        assert predict(f"--scans={tmp_path / 'scans.csv'}", f"--out={out}") == 0
    else:
        assert predict(f"--scan={series}", f"--out={out}") == 0
    answer = out / "P1" if many else out
    (tmp_path / "review.csv").write_text(
        "lesion_id,verdict,comment,reviewer\n1,accept,,A\n2,reject,,A\n"
    )
    arguments = (f"--out={answer}", f"--review={tmp_path / 'review.csv'}", f"--scan={series}")
    assert call("--mode=predict", *arguments) == 0
    said = "".join(capfd.readouterr()) + caplog.text
    assert "axial CT slices" in said or many
    assert not [one for one in (*SECRETS, *uids) if one in said]
    assert not _leaks(out, SECRETS)
    files = {pathlib.Path(name).name for name, _ in _leaks(out, uids)}
    assert files == {"lesions.dcm"}  # the reference to the series
    names = {str(pydicom.dcmread(path).PatientName) for path in out.rglob("*.dcm")}
    assert names == {"P1" if many else ""}


@pytest.mark.extras
def test_with_keep_identity_the_segmentation_alone_has_it(predict, planted, tmp_path, capfd):
    series = _store(planted, tmp_path / "ct")
    out = tmp_path / "out"
    assert predict(f"--scan={series}", f"--out={out}", "--keep-identity") == 0
    assert _leaks(out, (NAME, DATE)) == {("lesions.dcm", NAME), ("lesions.dcm", DATE)}
    assert NAME not in "".join(capfd.readouterr())


def _of_class(slices, kind):
    for one in slices:
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = kind
    return slices


def _localizer(slices):
    for one in slices:
        one.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return slices


def _without(slices, keyword):
    delattr(slices[3], keyword)
    return slices


BAD = {
    "slices are missing": lambda s: s[:3] + s[4:],
    "have the same position as another": lambda s: change_one(
        s, ImagePositionPatient=s[4].ImagePositionPatient
    ),
    "no valid RescaleSlope": lambda s: _without(s, "RescaleSlope"),
    "mixes slices of several sizes": lambda s: change_one(s, Rows=7),
    "series of 2 patients": lambda s: change_one(
        s, PatientID="another", SeriesInstanceUID=uid.generate_uid()
    ),
    "30 × MR Image": lambda s: _of_class(s, uid.MRImageStorage),
    "30 × Secondary Capture": lambda s: _of_class(s, uid.SecondaryCaptureImageStorage),
    "30 × localizer": _localizer,
    "cannot be read": lambda s: change_one(s, PixelData=b"1234"),
}


@pytest.mark.parametrize("words", BAD)
def test_what_is_no_whole_ct_is_one_line_and_nothing_written(
    predict, partly_planted, tmp_path, capfd, words
):
    folder = _store(BAD[words](partly_planted), tmp_path / "ct")
    assert predict(f"--scan={folder}", f"--out={tmp_path / 'out'}") == 1
    said = capfd.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not [one for one in SECRETS if one in said]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ct/notes.txt", b"my notes", "contains no CT series"),
        ("ct/IM1.dcm", b"\x8f\x02encrypted" * 50, "cannot be read as DICOM"),
        ("ct/IM1.dcm", b"", "cannot be read as DICOM"),
        ("ct", b"my notes", "unsupported format"),
        ("ct.nii.gz", b"", "ct"),
    ],
)
def test_something_else_is_refused(predict, tmp_path, capfd, name, content, words):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    scan = tmp_path / name.split("/")[0]
    assert predict(f"--scan={scan}", f"--out={tmp_path / 'out'}") == 1
    said = capfd.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_scan_without_lungs_is_refused(predict, chests, tmp_path, capsys):
    scan = volume.read_image(chests / "0.nii.gz")
    head = np.full_like(scan.array, 40)
    head[:, :, :20] = -1000  # of air beside it
    volume.write(tmp_path / "head.nii", volume.Volume(head, scan.affine))
    assert predict(f"--scan={tmp_path / 'head.nii'}", f"--out={tmp_path / 'out'}") == 1
    assert "head.nii: no lungs found" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_enhanced_ct_and_a_chosen_series_are_read(predict, chests, answered, tmp_path):
    scan = volume.read_image(chests / "0.nii.gz")
    other = volume.read_image(chests / "2.nii.gz")
    folder = save_slices([enhance_slices(make_slices(scan))], tmp_path / "ct")
    save_slices(make_slices(other, series=5), folder, "other{:03d}.dcm")
    lesions = {}
    for number in (1, 5):
        out = tmp_path / f"out{number}"
        assert predict(f"--scan={folder}", f"--series={number}", f"--out={out}") == 0
        lesions[number] = pd.read_csv(out / "lesions.csv")
    pd.testing.assert_frame_equal(
        lesions[1], pd.read_csv(answered / "lesions.csv"), check_exact=False, atol=1e-4
    )
    assert len(lesions[5]) == 0


@pytest.mark.extras
def test_a_series_that_a_segmentation_cannot_refer_to_is_answered_without(
    predict, partly_planted, tmp_path, capfd
):
    for one in partly_planted:
        del one.FrameOfReferenceUID
    out = tmp_path / "out"
    assert predict(f"--scan={_store(partly_planted, tmp_path / 'ct')}", f"--out={out}") == 0
    assert "DICOM SEG not written: highdicom cannot refer to this series" in capfd.readouterr().out
    assert not (out / "lesions.dcm").exists()
    assert len(pd.read_csv(out / "lesions.csv")) == 2


def test_what_was_passed_over_and_put_right_is_in_the_table_and_on_the_page(
    predict, chests, tmp_path, capsys
):
    scan = volume.read_image(chests / "0.nii.gz")
    scan.array[:, :1] = -2000
    folder = save_slices(make_slices(scan, SOPInstanceUID="1.2.3"), tmp_path / "ct")
    (folder / "Doe.txt").write_text("notes")
    (tmp_path / "scans.csv").write_text("image\nct\n")
    out = tmp_path / "out"
    assert predict(f"--scans={tmp_path / 'scans.csv'}", f"--out={out}") == 0
    row = pd.read_csv(out / "scans.csv").iloc[0]
    assert row.status == "done"
    assert row.lesions == 2
    assert row.series == (
        "series 1: 30 axial CT slices every 5.00 mm; the only CT series. Ignored: 1 × file that is "
        "not DICOM."
    )
    assert f"{30 * 64:,} voxels of padding (-2000 HU) are treated as air." in row.notes
    assert row.dicom_seg.startswith("not written: the 30 images of the series have 1 identifiers")
    page, said = (out / row.scan_id / "review.html").read_text(), capsys.readouterr().out
    for text in (row.notes, row.dicom_seg):
        assert text in said
    for text in ("1 × file that is not DICOM", "voxels of padding", row.dicom_seg):
        assert text in page
    assert predict(f"--scans={tmp_path / 'scans.csv'}", f"--out={out}") == 0
    again = pd.read_csv(out / "scans.csv").iloc[0]
    assert again.message == "was done before"
    assert again[["series", "notes", "dicom_seg"]].equals(row[["series", "notes", "dicom_seg"]])


@pytest.mark.extras
@pytest.mark.skipif(not REAL, reason="DTC_JAX_DATA is not set")
def test_a_real_ct_gives_the_same_lesions_as_dicom(predict, tmp_path):
    path = pathlib.Path(REAL or "", "lidc_ct", "LIDC-IDRI-0001_ct.nii.gz")
    series = save_slices(make_slices(volume.read_image(path)), tmp_path / "ct")
    for scan, out in ((path, "nifti"), (series, "dicom")):
        assert predict(f"--scan={scan}", f"--out={tmp_path / out}") == 0
    first, second = (pd.read_csv(tmp_path / out / "lesions.csv") for out in ("nifti", "dicom"))
    assert len(first) == len(second) > 1
    places = [f"center_{axis}_mm" for axis in "xyz"]
    np.testing.assert_allclose(first[places], second[places], atol=0.5)
    probabilities = (one.refractory_probability for one in (first, second))
    np.testing.assert_allclose(*probabilities, atol=1e-4)
    masks = [volume.read_image(tmp_path / out / "lesions.nii.gz") for out in ("nifti", "dicom")]
    differing = (masks[0].array != masks[1].array).sum()
    assert differing <= 1e-3 * (masks[0].array > 0).sum()
    np.testing.assert_allclose(masks[0].affine, masks[1].affine, atol=0.01)
