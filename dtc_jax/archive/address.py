"""Addresses of a series, of a DICOMweb service and of a DICOM node.

| address | |
|---|---|
| dicomweb://HOST[:PORT]/PATH/studies/UID/series/UID, http://… | a series, by DICOMweb over HTTP |
| dicomwebs://…, https://… | the same over HTTPS |
| dicomweb://HOST[:PORT]/PATH and the like | a service that stores, by STOW-RS |
| dicom://HOST:PORT/AET | a node that stores, by C-STORE; AET is its application entity title |
"""

import dataclasses
import re

from dtc_jax.errors import UsageError
from dtc_jax.storage import PathLike

_WEB = re.compile(r"(dicomweb|dicomwebs|https|http)://([^/\s]+)((?:/[^?#\s]*)?)", re.IGNORECASE)
_SERIES = re.compile(r"(.*?)/studies/([0-9.]{1,64})/series/([0-9.]{1,64})/?")
_NODE = re.compile(r"dicom://([^/:\s]+):([0-9]{1,5})/([!-.0-\[\]-~]{1,16})", re.IGNORECASE)
_LAST_PORT = 65535
_SCHEMES = {"dicomweb": "http", "dicomwebs": "https", "http": "http", "https": "https"}


@dataclasses.dataclass(frozen=True)
class Service:
    """A DICOMweb service: its URL, and the host by which messages call it."""

    url: str
    host: str


@dataclasses.dataclass(frozen=True)
class Series:
    """A series of a DICOMweb service. Messages never show its UIDs."""

    service: Service
    study_uid: str
    series_uid: str


@dataclasses.dataclass(frozen=True)
class Node:
    """A DICOM node that stores."""

    host: str
    port: int
    title: str


def is_address(text: PathLike) -> bool:
    """Whether it is an address, and not the path of a file."""
    return _WEB.match(str(text)) is not None or str(text).lower().startswith("dicom://")


def series(text: str, name: str = "--scan") -> Series:
    """The series of an address.

    Args:
      text: the address.
      name: of what it was given as, for messages.

    Raises:
      UsageError: it names none.
    """
    service = _service(text, name)
    found = _SERIES.fullmatch(service.url)
    if not found:
        raise UsageError(
            f"{name} at {service.host}: does not name a series; give dicomweb://HOST/PATH/studies/"
            "UID/series/UID."
        )
    url, study_uid, series_uid = found.groups()
    return Series(dataclasses.replace(service, url=url), study_uid, series_uid)


def target(text: str) -> Service | Node:
    """Where a segmentation is sent.

    Raises:
      UsageError: it is no such address.
    """
    node = _NODE.fullmatch(text)
    if node and 0 < int(node[2]) <= _LAST_PORT:
        return Node(node[1], int(node[2]), node[3])
    if text.lower().startswith("dicom://"):
        raise UsageError(
            "--send: give dicom://HOST:PORT/AET, with an AET of 16 characters at most, without "
            "blanks or accents."
        )
    service = _service(text, "--send")
    return dataclasses.replace(service, url=service.url.partition("/studies/")[0])


def _service(text: str, flag: str) -> Service:
    found = _WEB.fullmatch(text)
    if not found:
        kinds = "dicomweb://HOST/PATH or dicom://HOST:PORT/AET" if flag == "--send" else "a series"
        raise UsageError(f"{flag}: is not a DICOMweb address; give {kinds}.")
    scheme, host, path = found.groups()
    if "@" in host:
        raise UsageError(
            f"{flag}: has a name or password in its address, which other users of this machine "
            "can see; put them into ~/.netrc."
        )
    return Service(f"{_SCHEMES[scheme.lower()]}://{host}{path.rstrip('/')}", host)
