"""A DICOM object sent to a node by C-STORE."""

import pathlib
from typing import Any

import pydicom

from dtc_jax.archive.address import Node
from dtc_jax.archive.silence import silent
from dtc_jax.errors import InputError

_OWN_TITLE = "DTC-JAX"  # an archive may have to be told of it
_TIMEOUT_S = 60.0
_SUCCESS, _WARNINGS = 0x0000, range(0xB000, 0xC000)


def check() -> None:
    """Raises an InputError where what this needs is not installed."""
    _entity_and_opening()


def store(node: Node, path: pathlib.Path) -> None:
    """Sends a DICOM object.

    Raises:
      InputError: the node cannot be reached, refuses, or does not take it.
    """
    name, whole = f"{node.title} at {node.host}:{node.port}", pydicom.dcmread(path)
    entity_class, opening = _entity_and_opening()
    entity = entity_class(ae_title=_OWN_TITLE)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _TIMEOUT_S
    entity.connection_timeout = _TIMEOUT_S
    entity.add_requested_context(whole.SOPClassUID, whole.file_meta.TransferSyntaxUID)
    with silent("pynetdicom"):
        opened: list[object] = []
        try:
            link = entity.associate(
                node.host, node.port, ae_title=node.title, evt_handlers=[(opening, opened.append)]
            )
        except OSError as error:  # no host has this name
            raise _unreachable(name) from error
        # A node that rejects may have closed the connection before its answer was read.
        if link.is_rejected or (opened and not link.is_established and not link.rejected_contexts):
            raise InputError(
                f"{name}: rejects the association; allow {_OWN_TITLE} as the calling AE title "
                "there, and check the AET in the address."
            )
        if link.rejected_contexts and not link.accepted_contexts:
            raise InputError(f"{name}: does not accept DICOM segmentations.")
        if not link.is_established:
            raise _unreachable(name)
        try:
            status = link.send_c_store(whole).get("Status")
        except (RuntimeError, ValueError):  # the node has closed the connection
            status = None
        finally:
            link.release()
    if status is None:
        raise InputError(f"{name}: did not answer; the segmentation may not be stored.")
    if status != _SUCCESS and status not in _WARNINGS:
        raise InputError(f"{name}: did not store the segmentation (status {status:#06x}).")


def _unreachable(name: str) -> InputError:
    return InputError(
        f"{name}: cannot be reached; check the address, and that the node is running."
    )


def _entity_and_opening() -> tuple[Any, Any]:
    """The class of a node, and the event of an opened connection."""
    try:
        from pynetdicom import AE, evt
    except ImportError as error:
        raise InputError("C-STORE: needs pynetdicom; pip install 'dtc-jax[dicomweb]'.") from error
    return AE, evt.EVT_CONN_OPEN
