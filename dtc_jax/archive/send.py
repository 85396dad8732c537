"""Sends a segmentation to where an address says."""

import pathlib

from dtc_jax.archive import address, dicomweb, dimse
from dtc_jax.archive.address import Node, Service


def target(text: str) -> Service | Node:
    """Where `text` says; what sending there needs is installed.

    Raises:
      InputError: it is not.
      UsageError: it is no such address.
    """
    found = address.target(text)
    (dimse if isinstance(found, Node) else dicomweb).check()
    return found


def send(path: pathlib.Path, where: Service | Node) -> str:
    """Sends the DICOM object at `path`, and returns a sentence that says so.

    Raises:
      InputError: it was not stored; says why.
    """
    if isinstance(where, Node):
        dimse.store(where, path)
        return f"{path.name} was sent to {where.title} at {where.host}:{where.port} by C-STORE."
    dicomweb.store(where, path)
    return f"{path.name} was sent to {where.host} by STOW-RS."
