"""What a server may answer that is not as it should be."""

import http.server
import io
import json
import threading

import pytest

from dtc_jax.archive import dicomweb, send
from dtc_jax.errors import InputError
from dtc_jax.imaging import volume
from tests.dicom_files import make_slices

pytestmark = pytest.mark.extras


@pytest.fixture
def serve():
    """Serves on loopback what a function makes of a path: (status, kind, body)."""
    servers = []

    def serve(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, kind, body = answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *unused):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"dicomweb://127.0.0.1:{server.server_port}/web/studies/1.2/series/3.4"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def _refused(text, words, temporary):
    with pytest.raises(InputError, match=words), dicomweb.fetched(text):
        pass
    assert not list(temporary.iterdir())


def test_a_page_in_place_of_an_answer_is_refused(serve, temporary):
    text = serve(lambda path: (200, "text/html", b"<h1>Sign in</h1>"))
    _refused(text, "does not answer as DICOMweb does", temporary)
    _refused(serve(lambda path: (418, "text/plain", b"")), "refuses with status 418", temporary)


def _packed(chests):
    packed = io.BytesIO()
    make_slices(volume.read_image(chests / "0.nii.gz"))[0].save_as(packed, enforce_file_format=True)
    return packed.getvalue()


def _series(part):
    """Answers with one series of three slices, of which `part` is the only one sent."""
    found = [{"00080060": {"vr": "CS", "Value": ["CT"]}, "00201209": {"vr": "IS", "Value": [3]}}]
    body = b"--part\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n--part--\r\n"

    def answer(path):
        if "?" in path:
            return 200, "application/dicom+json", json.dumps(found).encode()
        return 200, 'multipart/related; type="application/dicom"; boundary=part', body

    return answer


def test_a_series_that_arrives_in_part_is_refused(serve, chests, temporary):
    _refused(serve(_series(_packed(chests))), "sent only 1 of 3 images", temporary)


@pytest.mark.parametrize("size", [20, 132, 200])
def test_a_slice_that_is_cut_off_in_its_header_is_refused(serve, chests, temporary, size):
    part = _packed(chests)[:size]
    _refused(serve(_series(part)), "does not answer as DICOMweb does", temporary)


@pytest.mark.parametrize(
    "found", ["x", 5, [None], [[1]], [{"00080060": None}], [{"00201209": {"Value": [{}]}}]]
)
def test_json_of_another_shape_is_refused(serve, temporary, found):
    text = serve(lambda path: (200, "application/dicom+json", json.dumps(found).encode()))
    _refused(text, "does not answer as DICOMweb does", temporary)


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("text/html", b"<h1>Sign in</h1>", "did not confirm that it stored"),
        ("application/dicom+json", b"{}", "did not confirm that it stored"),
        ("application/dicom+json", b"[]", "does not answer as DICOMweb does"),
        ("application/dicom+xml", b"<a", "does not answer as DICOMweb does"),
    ],
)
def test_what_is_not_known_to_be_stored_was_not_sent(serve, chests, tmp_path, kind, body, words):
    (tmp_path / "seg.dcm").write_bytes(_packed(chests))
    target = send.target(serve(lambda path: (200, kind, body)))
    with pytest.raises(InputError, match=words):
        send.send(tmp_path / "seg.dcm", target)


def test_a_node_of_an_unknown_name_cannot_be_reached(chests, tmp_path):
    (tmp_path / "seg.dcm").write_bytes(_packed(chests))
    with pytest.raises(InputError, match="cannot be reached"):
        send.send(tmp_path / "seg.dcm", send.target("dicom://no-such-host.invalid:104/PACS"))


def test_a_token_that_is_none_is_not_sent(serve, monkeypatch, temporary):
    monkeypatch.setenv(dicomweb.TOKEN, "first\nsecond")
    text = serve(lambda path: (200, "text/html", b""))
    _refused(text, f"{dicomweb.TOKEN}: is not a valid token", temporary)
