"""The calls of TensorFlow Serving, apart from how they travel: a message in, a message out.

The answers and errors are those that TensorFlow Serving 2.20 was seen to give.
"""

from collections.abc import Callable
from typing import Any

from cellzoo.protocol.messages import (
    GetModelMetadataResponse,
    GetModelStatusResponse,
    PredictResponse,
    ReloadConfigResponse,
    SignatureDefMap,
)
from cellzoo.protocol.tensors import to_message
from cellzoo.serving.batching import Batcher
from cellzoo.serving.errors import ServingError
from cellzoo.serving.memory import Memory
from cellzoo.serving.servable import (
    DEFAULT_SIGNATURE,
    Servable,
    check_inputs,
    input_bytes,
    read_inputs,
)
from cellzoo.serving.versions import Models, state_number


class Protocol:
    """PredictionService and ModelService.

    Args:
        models: what there is to serve.
        batcher: computes.
        memory: of which requests take their part.
    """

    def __init__(self, models: Models, batcher: Batcher, memory: Memory):
        """See the class."""
        self.models, self.batcher, self.memory = models, batcher, memory

    def predict(self, request: Any, wanted: Callable[[], bool] = lambda: True) -> Any:
        """``Predict``: inputs of a signature to its outputs, or those that the filter names.

        Args:
            request: ``PredictRequest``.
            wanted: whether anybody still waits for the answer.

        Raises:
            ServingError: the request cannot be answered; so all methods here.
        """
        servable = self._servable(request)
        key = request.model_spec.signature_name or DEFAULT_SIGNATURE
        signature = servable.signature(key)
        with self.memory.hold(input_bytes(request.inputs)):
            inputs = read_inputs(signature, request.inputs)
            outputs = _chosen_outputs(signature, request.output_filter)
            check_inputs(signature, inputs)
            computed = self.batcher.submit(
                (servable, key), lambda merged: servable.run(key, merged), inputs, wanted
            )
        response = PredictResponse()
        _set_spec(response.model_spec, servable, key)
        for name in outputs:
            response.outputs[name].CopyFrom(to_message(computed[name], typed=True))
        return response

    def get_model_metadata(self, request: Any) -> Any:
        """``GetModelMetadata``: the signatures of a model."""
        servable = self._servable(request)
        if not request.metadata_field:
            raise ServingError(
                "INVALID_ARGUMENT",
                "GetModelMetadataRequest must specify at least one metadata_field",
            )
        for field in request.metadata_field:
            if field != "signature_def":
                raise ServingError("INVALID_ARGUMENT", f"Metadata field {field} is not supported")
        response = GetModelMetadataResponse()
        _set_spec(response.model_spec, servable, "")
        signatures = SignatureDefMap()
        for key, signature in servable.signatures.items():
            signatures.signature_def[key].CopyFrom(signature)
        field = response.metadata["signature_def"]
        field.type_url = f"type.googleapis.com/{SignatureDefMap.DESCRIPTOR.full_name}"
        field.value = signatures.SerializeToString()
        return response

    def get_model_status(self, request: Any) -> Any:
        """``GetModelStatus``: states of a model's versions."""
        if not request.HasField("model_spec"):
            raise ServingError("INVALID_ARGUMENT", "Missing ModelSpec")
        response = GetModelStatusResponse()
        for number, version in self.models.status(request.model_spec):
            added = response.model_version_status.add(version=number, state=state_number(version))
            added.status.error_code = ServingError(version.code, "").number
            added.status.error_message = version.message
        return response

    def handle_reload_config(self, request: Any) -> Any:
        """``HandleReloadConfigRequest``: other models, policies or labels, at once."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise ServingError(
                "INVALID_ARGUMENT", "ReloadConfigRequest needs a config with a model_config_list"
            )
        self.models.reload(list(request.config.model_config_list.config))
        response = ReloadConfigResponse()
        response.status.SetInParent()
        return response

    def _servable(self, request: Any) -> Servable:
        if not request.HasField("model_spec"):
            raise ServingError("INVALID_ARGUMENT", "Missing ModelSpec")
        return self.models.servable(request.model_spec)


def _chosen_outputs(signature: Any, names: list[str]) -> list[str]:
    known = sorted(signature.outputs)
    for place, name in enumerate(names):
        if name not in known:
            raise ServingError(
                "INVALID_ARGUMENT",
                f"output tensor alias not found in signature: {name} Outputs expected to be in "
                f"the set {{{','.join(known)}}}.",
            )
        if name in names[:place]:
            raise ServingError("INVALID_ARGUMENT", f"duplicate output tensor alias: {name}")
    return list(names) or known


def _set_spec(spec: Any, servable: Servable, signature: str) -> None:
    spec.name = servable.name
    spec.version.value = servable.version
    spec.signature_name = signature
