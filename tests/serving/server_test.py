"""MLServer answers as the contract says, refuses what does not fit, and stands many clients."""

import dataclasses
import importlib.util

import pytest

from benchmarks import model_server as server
from dtc_jax.export import bundle, served
from dtc_jax.serving.bundled import verify
from tests.export import small_networks

pytestmark = pytest.mark.extras
EXTRA = "needs MLServer and tritonclient: pip install 'dtc-jax[server]'"
if importlib.util.find_spec("mlserver") is None:  # not imported: both define the same protobufs
    pytest.skip(EXTRA, allow_module_level=True)
grpc = pytest.importorskip("tritonclient.grpc", reason=EXTRA)


def test_over_the_wire_a_bundle_gives_its_own_answers(drawn, tmp_path):
    from benchmarks import served as load

    config = small_networks.classifier(3)
    config.predict.mirror = False
    one = dataclasses.replace(drawn(config), threshold=0.4)  # drawn weights may lie on 0.5
    out = tmp_path / "bundle"
    bundle.write(out, lambda: (one, "drawn"), tmp_path, ["onnx"])
    task, names = config.task, [output.name for output in served.make(one).outputs]
    with server.serving(out) as address, grpc.InferenceServerClient(address) as connection:
        for arrays, expected in verify.cases(out).values():
            answer = server.ask(connection, task, arrays, names)
            assert load.difference(answer, expected) < 1e-5
        small = {name: array[:, 1:] for name, array in arrays.items()}
        with pytest.raises(Exception, match=r"image: is int16 .*; give int16"):
            server.ask(connection, task, small, names)
        with pytest.raises(Exception, match="no such output; there are probability"):
            server.ask(connection, task, arrays, ["logit"])
        taken, *bad, _ = load.load_test(address, task, out, clients=8, requests=40, seconds=60)
        assert (len(taken), bad) == (40, [[], []])
    with pytest.raises(Exception, match=r"[Ff]ailed to connect|UNAVAILABLE|DEADLINE"):
        grpc.InferenceServerClient(address).is_server_live(client_timeout=5)


def test_a_server_that_cannot_read_the_bundle_says_why(tmp_path):
    (tmp_path / "preprocessing.json").write_text('{"task": "classification", "models": {}}')
    with (
        pytest.raises(server.Failed, match=r"did not become ready: .*Error"),
        server.serving(tmp_path),
    ):
        pass
