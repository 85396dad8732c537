"""An archive on this machine: Orthanc with its DICOMweb plugin, and a series in it."""

import dataclasses
import json
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

USER, PASSWORD = "reader", "only-on-loopback"
_PLUGIN = pathlib.Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")  # of Debian
_SECONDS_TO_START = 60


@dataclasses.dataclass(frozen=True)
class Archive:
    """A running Orthanc."""

    http: int
    dimse: int

    @property
    def root(self) -> str:
        return f"127.0.0.1:{self.http}/dicom-web"

    def ask(self, path: str, data: bytes | None = None) -> bytes:
        """Answers a request to its own interface."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/{path}", data)
        with _opener(self.http).open(request, timeout=60) as answer:
            return answer.read()


def _opener(port: int) -> urllib.request.OpenerDirector:
    known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    known.add_password(None, f"http://127.0.0.1:{port}/", USER, PASSWORD)
    return urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(known))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Orthanc on loopback, with a password."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not _PLUGIN.is_file():
        pytest.skip("Orthanc with its DICOMweb plugin is not installed")
    folder = tmp_path_factory.mktemp("orthanc")
    running = Archive(free_port(), free_port())
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": running.http,
        "DicomPort": running.dimse,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(_PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [program, str(folder / "orthanc.json")], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _await(running, process, folder / "log")
        yield running
    finally:
        process.terminate()
        process.wait(timeout=60)


def _await(running: Archive, process: subprocess.Popen, log: pathlib.Path) -> None:
    end = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < end and process.poll() is None:
        try:
            running.ask("system")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError(f"Orthanc has not started:\n{log.read_text()[-2000:]}")


@pytest.fixture
def known(tmp_path, monkeypatch):
    """This user has the archive's name and password in ~/.netrc."""
    path = tmp_path / "netrc"
    path.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> pathlib.Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder
