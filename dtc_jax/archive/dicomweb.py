"""DICOMweb: a series by QIDO-RS and WADO-RS, an object put back by STOW-RS.

Name and password are those of ~/.netrc; a token is taken from DTC_JAX_DICOMWEB_TOKEN.
"""

import contextlib
import http
import os
import pathlib
import struct
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError

from dtc_jax import progress
from dtc_jax.archive import address
from dtc_jax.archive.address import Series, Service
from dtc_jax.archive.silence import silent
from dtc_jax.errors import InputError, UsageError
from dtc_jax.storage import PathLike, no_space_is_an_input_error

TOKEN = "DTC_JAX_DICOMWEB_TOKEN"
_TIMEOUT_S = (10.0, 120.0)  # to connect; to hear anything more
_AS_STORED = ("application/dicom", "*")  # no other transfer syntax: nothing is decoded on the way
_COUNT, _MODALITY = "00201209", "00080060"  # NumberOfSeriesRelatedInstances, Modality
_STORED = "ReferencedSOPSequence"
# What dicomweb-client and pydicom raise on a body that is not what it should be.
_MALFORMED = (
    *(ValueError, LookupError, TypeError, AttributeError, NotImplementedError, SyntaxError),
    *(struct.error, InvalidDicomError),
)


@contextlib.contextmanager
def fetched(scan: PathLike, name: str = "--scan") -> Iterator[PathLike]:
    """The path of a scan; a series of an archive is there for as long as the context lasts.

    It lies in a folder for temporary files that this user alone can read. Messages of what is done
    with it name the host in its place.

    Args:
      scan: a path, or the address of a series.
      name: of what it was given as, for messages.

    Raises:
      InputError: the archive cannot be reached, refuses, or has no such CT series.
      UsageError: the address names no series.
    """
    if not address.is_address(scan):
        yield scan
        return
    wanted = address.series(str(scan), name)
    with tempfile.TemporaryDirectory(prefix="dtc-jax-") as folder:
        path = pathlib.Path(folder) / "series"
        path.mkdir()
        _fetch(wanted, path)
        try:
            yield path
        except InputError as error:
            named = str(error).replace(str(path), f"the series from {wanted.service.host}")
            error.args = (named,)
            raise


def check() -> None:
    """Raises an InputError where what this needs is not installed."""
    _client_class("DICOMweb")


def store(service: Service, path: pathlib.Path) -> None:
    """Puts a DICOM object into an archive.

    Raises:
      InputError: the archive cannot be reached, refuses, or does not take it.
    """
    client, whole = _connect(service), pydicom.dcmread(path)
    with _told(service.host, "STOW-RS service"):
        answer = client.store_instances([whole])
        if answer.get("FailedSOPSequence"):
            reason = answer.FailedSOPSequence[0].get("FailureReason", "none given")
            raise InputError(f"{service.host}: did not store the segmentation (reason {reason}).")
        stored = {one.get("ReferencedSOPInstanceUID") for one in answer.get(_STORED, ())}
    if whole.SOPInstanceUID not in stored:  # as where a page to sign in is the answer
        raise InputError(
            f"{service.host}: did not confirm that it stored the segmentation; check the address, "
            "and whether the archive has it."
        )


def _fetch(series: Series, folder: pathlib.Path) -> None:
    """Writes the instances of a series into `folder`, as the archive has them."""
    host, uids = series.service.host, (series.study_uid, series.series_uid)
    client = _connect(series.service)
    with _told(host, "study or series of this address"):
        found = client.search_for_series(
            series.study_uid,
            search_filters={"SeriesInstanceUID": series.series_uid},
            fields=["NumberOfSeriesRelatedInstances"],
        )
        if not found:
            raise InputError(f"{host}: has no study or series of this address; check the UIDs.")
        if _value(found[0], _MODALITY) not in ("CT", None):
            raise InputError(f"{host}: the series is not a CT; give the address of a CT series.")
        count = _value(found[0], _COUNT)
        total = None if count is None else int(count)
        done = 0
        with no_space_is_an_input_error(folder):
            instances = client.iter_series(*uids, media_types=(_AS_STORED,))
            for one in progress.track(instances, f"slices from {host}", total):
                one.save_as(folder / f"{done:05d}.dcm", enforce_file_format=True)
                done += 1
    if done < (total or 1):
        raise InputError(
            f"{host}: sent only {done} of {total or 'the'} images of the series; try again."
        )


def _value(found: dict[str, Any], tag: str) -> Any:
    """The first value of an attribute in DICOM JSON; None where there is none."""
    values = found.get(tag, {}).get("Value") or [None]
    return values[0]


def _connect(service: Service) -> Any:
    """A client of the service."""
    client_class = _client_class(service.host)
    token = os.environ.get(TOKEN, "").strip()
    if not (token.isascii() and token.isprintable()):
        raise InputError(
            f"{TOKEN}: is not a valid token (it has line breaks or non-ASCII letters); set it "
            "again."
        )
    headers = {"Authorization": f"Bearer {token}"} if token else None
    try:
        client = client_class(service.url, headers=headers, timeout=_TIMEOUT_S)
    except ValueError as error:
        raise UsageError(f"{service.host}: is not a DICOMweb address; check it.") from error
    client.set_http_retry_params(retry=False)  # or it would try half a minute before it says so
    return client


def _client_class(what: str) -> Any:
    try:
        from dicomweb_client import DICOMwebClient
    except ImportError as error:
        raise InputError(
            f"{what}: needs dicomweb-client; pip install 'dtc-jax[dicomweb]'."
        ) from error
    return DICOMwebClient


@contextlib.contextmanager
def _told(host: str, what: str) -> Iterator[None]:
    """Turns what may go wrong on the way into an `InputError`; nothing of it is logged.

    Addresses and headers hold UIDs, and sometimes names.
    """
    import requests

    try:
        with silent("dicomweb_client", "urllib3", "pydicom"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except requests.HTTPError as error:
        status = 0 if error.response is None else error.response.status_code
        raise InputError(f"{host}: {_refusal(status, what)}") from error
    except requests.exceptions.SSLError as error:
        raise InputError(
            f"{host}: its certificate is not trusted; set REQUESTS_CA_BUNDLE to that of your site."
        ) from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise InputError(f"{host}: the connection broke during the transfer; try again.") from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise InputError(
            f"{host}: cannot be reached, or has stopped answering; check the address, and that the "
            "server is running."
        ) from error
    except (requests.RequestException, *_MALFORMED) as error:
        raise InputError(f"{host}: does not answer as DICOMweb does; check the address.") from error


def _refusal(status: int, what: str) -> str:
    if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        return (
            f"refuses access ({status}); put name and password into ~/.netrc, or a token into the "
            f"environment variable {TOKEN}."
        )
    if status == http.HTTPStatus.NOT_FOUND:
        return f"has no {what} (404); check the address."
    return f"refuses with status {status}; ask who runs it."
