"""What MLServer runs of a bundle: KServe's V2 protocol, over HTTP and gRPC.

It needs NumPy, ONNX Runtime and MLServer, and no other file of the project than the client that is
copied into bundles. See docs/export.md.
"""

import asyncio
import pathlib

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput, TensorData

from dtc_jax.serving.bundled import client


class BundleRuntime(MLModel):
    """The ONNX model of the bundle whose folder is `parameters.uri` of the model's settings."""

    async def load(self) -> bool:
        """Loads the model."""
        assert self.settings.parameters is not None
        bundle = pathlib.Path(str(self.settings.parameters.uri))
        self._model = client.load(bundle, "onnx")
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answers a batch: the outputs that the request names, or all.

        Raises:
          InferenceError: an input is missing, or has another shape or dtype; the server says so.
        """
        arrays = {one.name: self.decode(one, default_codec=NumpyCodec) for one in payload.inputs}
        wanted = [one.name for one in payload.outputs or []]
        try:
            answer = await asyncio.to_thread(self._model, arrays, wanted)
        except ValueError as error:
            raise InferenceError(str(error)) from error
        outputs = [_output(name, array) for name, array in answer.items()]
        return InferenceResponse(
            id=payload.id, model_name=self.name, model_version=self.version, outputs=outputs
        )


def _output(name: str, array: np.ndarray) -> ResponseOutput:
    """As `NumpyCodec` writes it, but for [B], which that turns into [B, 1]."""
    return ResponseOutput(
        name=name,
        shape=list(array.shape),
        datatype="FP32",
        data=TensorData(root=array.ravel().tolist()),
    )
