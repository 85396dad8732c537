"""Triton's own protobuf reads config.pbtxt, and it says what the ONNX model says."""

import onnx
import pytest

from dtc_jax.export import onnx_model, served, triton
from tests.export import small_networks

pytestmark = pytest.mark.extras
EXTRA = "needs tritonclient: pip install 'dtc-jax[server]'"
text_format = pytest.importorskip("google.protobuf.text_format", reason=EXTRA)
model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason=EXTRA)


@pytest.mark.parametrize("make", [small_networks.classifier, small_networks.segmenter])
def test_the_configuration_is_that_of_the_model(drawn, make):
    one = served.make(drawn(make(0)))
    config = text_format.Parse(triton.config(one), model_config_pb2.ModelConfig())
    task = one.network.config.task
    assert triton.path(one) == f"triton/{config.name}/1/model.onnx"
    assert (config.name, config.backend) == (task, "onnxruntime")
    assert config.max_batch_size == one.network.config.predict.batch_size
    assert config.dynamic_batching.max_queue_delay_microseconds > 0
    graph = onnx_model.make(one, {}).graph
    kinds = model_config_pb2.DataType
    for given, values in ((config.input, graph.input), (config.output, graph.output)):
        assert [each.name for each in given] == [value.name for value in values]
        for each, value in zip(given, values, strict=True):
            tensor = value.type.tensor_type
            dims = [axis.dim_value for axis in tensor.shape.dim[1:]]  # Triton adds the batch
            has_shape = each.HasField("reshape")
            assert list(each.reshape.shape if has_shape else each.dims) == dims
            assert each.dims  # Triton takes no empty list
            named = kinds.Name(each.data_type).removeprefix("TYPE_")
            onnx_name = onnx.TensorProto.DataType.Name(tensor.elem_type)
            assert named == {"FLOAT": "FP32"}.get(onnx_name, onnx_name)
