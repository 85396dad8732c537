"""What a server may answer that is not as it should be."""

import http.server
import io
import json
import threading

import pytest

from dtc_jax.archive import dicomweb
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


def test_a_series_that_arrives_in_part_is_refused(serve, chests, temporary):
    packed = io.BytesIO()
    make_slices(volume.read_image(chests / "0.nii.gz"))[0].save_as(packed, enforce_file_format=True)
    found = [{"00080060": {"vr": "CS", "Value": ["CT"]}, "00201209": {"vr": "IS", "Value": [3]}}]
    head = b"--part\r\nContent-Type: application/dicom\r\n\r\n"
    body = head + packed.getvalue() + b"\r\n--part--\r\n"

    def answer(path):
        if "?" in path:
            return 200, "application/dicom+json", json.dumps(found).encode()
        return 200, 'multipart/related; type="application/dicom"; boundary=part', body

    _refused(serve(answer), "has sent 1 of 3 images", temporary)
