"""A series is read from Orthanc, and its segmentation put back, over loopback."""

import io
import json
import warnings

import pandas as pd
import pydicom
import pytest

import dtc_jax
from dtc_jax.archive import dicomweb, send
from dtc_jax.errors import InputError, UsageError
from dtc_jax.imaging import ct, volume
from tests.archive.conftest import free_port
from tests.dicom_files import make_slices
from tests.planted import DATE, NAME

pytestmark = [
    pytest.mark.extras,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # threads of pynetdicom
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def _upload(archive, slices, modality="CT"):
    """Puts slices into the archive; the path of their series."""
    for one in slices:
        one.Modality = modality
        one.PatientName, one.PatientID, one.PatientBirthDate = NAME, NAME, DATE
        packed = io.BytesIO()
        one.save_as(packed, enforce_file_format=True)
        archive.ask("instances", packed.getvalue())
    return f"studies/{slices[0].StudyInstanceUID}/series/{slices[0].SeriesInstanceUID}"


@pytest.fixture(scope="module")
def slices(chests):
    return make_slices(volume.read_image(chests / "0.nii.gz"))


@pytest.fixture(scope="module")
def series(archive, slices):
    """The address of a series."""
    return f"dicomweb://{archive.root}/{_upload(archive, slices)}"


def _segmentations(archive, study_uid):
    """The segmentations that the archive has of a study."""
    asked = f"dicom-web/studies/{study_uid}/instances?Modality=SEG"
    found = json.loads(archive.ask(asked) or b"[]")
    return [one["00080018"]["Value"][0] for one in found]


def test_a_series_is_predicted_and_its_segmentation_put_back(
    predict, archive, series, slices, chests, known, temporary, tmp_path, capfd, caplog
):
    caplog.set_level("DEBUG")
    out = tmp_path / "out"
    arguments = (f"--scan={series}", f"--out={out}", "--keep-identity")
    assert predict(*arguments, f"--send=dicomweb://{archive.root}") == 0
    said = capfd.readouterr()
    assert f"lesions.dcm was sent to 127.0.0.1:{archive.http} by STOW-RS." in said.out
    assert len(pd.read_csv(out / "lesions.csv")) == 2
    own = pydicom.dcmread(out / "lesions.dcm")
    study_uid = slices[0].StudyInstanceUID
    assert own.StudyInstanceUID == study_uid
    assert own.PatientID == NAME  # so that it goes to the same patient
    assert _segmentations(archive, study_uid) == [own.SOPInstanceUID]
    same = volume.read_image(chests / "0.nii.gz").array
    assert (volume.read_image(out / "scan.nii.gz").array == same).all()
    assert not list(temporary.iterdir())
    uids = (study_uid, slices[0].SeriesInstanceUID, own.SOPInstanceUID)
    for text in ("".join(said), caplog.text, (out / "run.json").read_text()):
        assert not [secret for secret in (NAME, DATE, *uids, str(temporary)) if secret in text]

    # The same command repeats nothing, and sends once more: here to a node by C-STORE.
    assert predict(*arguments, f"--send=dicom://127.0.0.1:{archive.dimse}/ORTHANC") == 0
    said = capfd.readouterr().out
    assert "nothing was computed again" in said
    assert f"was sent to ORTHANC at 127.0.0.1:{archive.dimse} by C-STORE." in said


def test_many_series_are_predicted_and_one_that_is_not_there_fails_alone(
    predict, archive, series, chests, known, temporary, tmp_path, capfd, monkeypatch
):
    missing = series.partition("/series/")[0] + "/series/1.2.3"
    table = pd.DataFrame({"image": [series, missing, str(chests / "1.nii.gz")]})
    table.to_csv(tmp_path / "scans.csv", index=False)
    arguments = (f"--scans={tmp_path / 'scans.csv'}", f"--out={tmp_path / 'out'}")
    assert predict(*arguments) == 1
    scans = pd.read_csv(tmp_path / "out" / "scans.csv")
    assert scans.status.tolist() == ["done", "failed", "done"]
    assert "no study or series of this address" in scans.message[1]
    assert predict(*arguments) == 1
    again = pd.read_csv(tmp_path / "out" / "scans.csv")
    assert again.message[0] == "was done before"
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))  # the archive refuses access
    assert predict(*arguments) == 1
    later = pd.read_csv(tmp_path / "out" / "scans.csv")
    assert later.status.tolist() == ["done", "failed", "done"]
    assert "not compared again" in later.message[0]
    assert "refuses access" in later.message[0]
    assert set(pd.read_csv(tmp_path / "out" / "lesions.csv").scan_id) == {"scan-001", "scan-003"}
    assert not list(temporary.iterdir())
    said = "".join(capfd.readouterr()) + (tmp_path / "out" / "scans.csv").read_text()
    uids = series.partition("/studies/")[2].split("/series/")
    assert not [secret for secret in (NAME, *uids, str(temporary)) if secret in said]


def test_python_reads_a_series(series, chests, known, temporary):
    scan = dtc_jax.read_scan(series)
    assert (scan.array == volume.read_image(chests / "0.nii.gz").array).all()
    assert not list(temporary.iterdir())
    with pytest.raises(UsageError, match="omit series"):
        dtc_jax.read_scan(series, series=3)


@pytest.fixture(scope="module")
def object_to_send(slices, tmp_path_factory):
    path = tmp_path_factory.mktemp("object") / "one.dcm"
    slices[0].save_as(path, enforce_file_format=True)
    return path


def test_c_store_arrives(archive, slices, chests, tmp_path):
    (other,) = make_slices(volume.read_image(chests / "0.nii.gz"))[:1]
    path = tmp_path / "one.dcm"
    other.save_as(path, enforce_file_format=True)
    send.send(path, send.target(f"dicom://127.0.0.1:{archive.dimse}/ORTHANC"))
    asked = f"dicom-web/studies/{other.StudyInstanceUID}/instances"
    (found,) = json.loads(archive.ask(asked))
    assert found["00080018"]["Value"] == [other.SOPInstanceUID]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("dicom://127.0.0.1:{dimse}/ANOTHER", "rejects the association"),
        ("dicom://127.0.0.1:{closed}/ORTHANC", "cannot be reached"),
        ("dicomweb://127.0.0.1:{closed}/dicom-web", "cannot be reached"),
        ("dicomweb://127.0.0.1:{http}/dicom-web", r"refuses access \(401\)"),
        ("dicomweb://127.0.0.1:{http}/nowhere", r"refuses access|404"),
    ],
)
def test_an_archive_that_does_not_store_says_why(
    archive, object_to_send, monkeypatch, tmp_path, target, words
):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    ports = {"closed": free_port(), "dimse": archive.dimse, "http": archive.http}
    with pytest.raises(InputError, match=words):
        send.send(object_to_send, send.target(target.format(**ports)))


def _refused(text, words, temporary):
    """Checks that a series cannot be fetched, and that nothing is left of it."""
    with pytest.raises(InputError, match=words) as caught, dicomweb.fetched(text) as path:
        ct.read(path)
    assert not list(temporary.iterdir())
    for secret in (NAME, str(temporary), *text.partition("/studies/")[2].split("/series/")):
        assert secret not in str(caught.value)


def test_without_a_password_the_series_is_refused(series, temporary, monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    _refused(series, r"refuses access \(401\)", temporary)
    monkeypatch.setenv(dicomweb.TOKEN, "not-a-token")
    _refused(series, r"refuses access \(40[13]\)", temporary)


def test_what_is_not_there_is_said(archive, series, known, temporary):
    study = series.partition("/series/")[0]
    _refused(f"{study}/series/1.2.3", "no study or series of this address", temporary)
    other = series.partition("/studies/")[0]
    _refused(f"{other}/studies/1.2.3/series/4.5.6", "no study or series", temporary)
    closed = series.replace(f":{archive.http}", f":{free_port()}")
    _refused(closed, "cannot be reached", temporary)


def test_a_series_that_is_no_ct_is_refused(archive, chests, known, temporary):
    scan = volume.read_image(chests / "0.nii.gz")
    other = _upload(archive, make_slices(scan)[:3], modality="MR")
    _refused(f"dicomweb://{archive.root}/{other}", "the series is not a CT", temporary)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        few = _upload(archive, make_slices(scan)[:1])
    _refused(f"dicomweb://{archive.root}/{few}", "the series from 127.0.0.1", temporary)
