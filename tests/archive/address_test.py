"""Addresses of archives: what each means, and that what cannot be used is refused at once."""

import sys

import pytest

from dtc_jax.archive import address, dicomweb, send
from dtc_jax.archive.address import Node, Series, Service
from dtc_jax.csv_reader import TableError
from dtc_jax.errors import InputError, UsageError
from dtc_jax.prediction import requests

PATH = "pacs:8042/dicom-web/studies/1.2.3/series/4.5.6"


@pytest.mark.parametrize(
    ("scheme", "url"),
    [
        ("dicomweb", "http://pacs:8042/dicom-web"),
        ("dicomwebs", "https://pacs:8042/dicom-web"),
        ("https", "https://pacs:8042/dicom-web"),
    ],
)
def test_a_series_has_a_service_and_two_uids(scheme, url):
    expected = Series(Service(url, "pacs:8042"), "1.2.3", "4.5.6")
    assert address.series(f"{scheme}://{PATH}") == expected
    assert address.series(f"{scheme}://{PATH}/") == expected
    assert address.target(f"{scheme}://pacs:8042/dicom-web/") == Service(url, "pacs:8042")
    assert address.target(f"{scheme}://{PATH}") == Service(url, "pacs:8042")


def test_a_node_has_a_host_a_port_and_a_title():
    assert address.target("dicom://10.0.0.7:104/PACS_A") == Node("10.0.0.7", 104, "PACS_A")


@pytest.mark.parametrize("path", ["ct/", "ct.nii.gz", "/data/dicom:/x", "C:\\ct"])
def test_a_path_is_none(path, tmp_path):
    assert not address.is_address(path)
    with dicomweb.fetched(path) as same:
        assert same == path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dicomweb://pacs/dicom-web/studies/1.2.3", "does not name a series"),
        ("dicomweb://pacs/dicom-web/studies/SECRET/series/7", "does not name a series"),
        ("dicom://pacs:104/AET", "is not a DICOMweb address"),
        ("dicomweb://me:SECRET@pacs/studies/1/series/2", "into ~/.netrc"),
    ],
)
def test_a_scan_that_is_no_series_is_refused(text, words):
    with pytest.raises(UsageError, match=words) as caught, dicomweb.fetched(text):
        pass
    assert "SECRET" not in str(caught.value)


def test_an_address_in_a_table_is_checked_with_its_row(tmp_path):
    text = f"dicomweb://{PATH}"
    (tmp_path / "good.csv").write_text(f"image,patient_id\n{text},a\nct.nii.gz,b\n")
    first, second = requests.read_csv(tmp_path / "good.csv")
    assert (first.path, second.path) == (text, str(tmp_path / "ct.nii.gz"))
    (tmp_path / "bad.csv").write_text(
        "image,series,lungs\n"
        f"dicomweb://pacs/web/studies/1.2,,\nx.nii,,\n{text},3,\ny.nii,,{text}\n"
    )
    with pytest.raises(TableError) as error:
        requests.read_csv(tmp_path / "bad.csv")
    places = [(problem.row, problem.column) for problem in error.value.problems]
    assert places == [(2, "image"), (4, "series"), (5, "lungs")]
    assert "the address at pacs: does not name a series" in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dicom://pacs/AET", "HOST:PORT/AET"),
        ("dicom://pacs:99999/AET", "HOST:PORT/AET"),
        ("dicom://pacs:104/A_TITLE_OF_TOO_MANY_LETTERS", "16 characters"),
        ("dicom://pacs:104/RÖNTGEN", "without blanks or accents"),
        ("pacs", "is not a DICOMweb address"),
        ("dicomweb://me:SECRET@pacs/dicom-web", "into ~/.netrc"),
    ],
)
def test_a_target_that_is_none_is_refused(text, words):
    with pytest.raises(UsageError, match=words) as caught:
        send.target(text)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("text", ["dicomweb://pacs/dicom-web", "dicom://pacs:104/AET"])
def test_without_the_libraries_the_extra_is_named(monkeypatch, text):
    for name in ("dicomweb_client", "pynetdicom"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"pip install 'dtc-jax\[dicomweb\]'"):
        send.target(text)


def test_a_series_is_not_fetched_without_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "dicomweb_client", None)
    fetched = dicomweb.fetched(f"dicomweb://{PATH}")
    with pytest.raises(InputError, match="needs dicomweb-client"), fetched:
        pass
