"""TensorFlow Serving's protobuf messages, without TensorFlow.

Names and field numbers are those of ``tensorflow_serving/apis``, ``tensorflow_serving/config`` and
``tensorflow/core`` (TensorFlow 2.21). Only fields that cellzoo reads or writes are listed; protobuf
keeps the others as unknown fields. The messages live in a descriptor pool of their own, so that a
process may import TensorFlow's as well.
"""

import re
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_POLICY = "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy"

# Message -> its fields as a .proto file writes them; "oneof NAME" in front of a field's type says
# that it is one of several.
_MESSAGES = {
    "tensorflow.TensorShapeProto": "repeated tensorflow.TensorShapeProto.Dim dim = 2; "
    "bool unknown_rank = 3",
    "tensorflow.TensorShapeProto.Dim": "int64 size = 1; string name = 2",
    "tensorflow.TensorProto": "tensorflow.DataType dtype = 1; "
    "tensorflow.TensorShapeProto tensor_shape = 2; int32 version_number = 3; "
    "bytes tensor_content = 4; repeated float float_val = 5; repeated double double_val = 6; "
    "repeated int32 int_val = 7; repeated bytes string_val = 8; repeated int64 int64_val = 10; "
    "repeated bool bool_val = 11; repeated int32 half_val = 13; repeated uint32 uint32_val = 16; "
    "repeated uint64 uint64_val = 17",
    "tensorflow.TensorInfo": "oneof encoding string name = 1; tensorflow.DataType dtype = 2; "
    "tensorflow.TensorShapeProto tensor_shape = 3",
    "tensorflow.SignatureDef": "map<string, tensorflow.TensorInfo> inputs = 1; "
    "map<string, tensorflow.TensorInfo> outputs = 2; string method_name = 3; "
    "map<string, tensorflow.TensorProto> defaults = 4",
    "tensorflow.MetaGraphDef": "tensorflow.MetaGraphDef.MetaInfoDef meta_info_def = 1; "
    "map<string, tensorflow.SignatureDef> signature_def = 5",
    "tensorflow.MetaGraphDef.MetaInfoDef": "repeated string tags = 4",
    "tensorflow.SavedModel": "int64 saved_model_schema_version = 1; "
    "repeated tensorflow.MetaGraphDef meta_graphs = 2",
    "tensorflow.serving.ModelSpec": "string name = 1; "
    "oneof version_choice google.protobuf.Int64Value version = 2; "
    "oneof version_choice string version_label = 4; string signature_name = 3",
    "tensorflow.serving.PredictRequest": "tensorflow.serving.ModelSpec model_spec = 1; "
    "map<string, tensorflow.TensorProto> inputs = 2; repeated string output_filter = 3",
    "tensorflow.serving.PredictResponse": "map<string, tensorflow.TensorProto> outputs = 1; "
    "tensorflow.serving.ModelSpec model_spec = 2",
    "tensorflow.serving.SignatureDefMap": "map<string, tensorflow.SignatureDef> signature_def = 1",
    "tensorflow.serving.GetModelMetadataRequest": "tensorflow.serving.ModelSpec model_spec = 1; "
    "repeated string metadata_field = 2",
    "tensorflow.serving.GetModelMetadataResponse": "tensorflow.serving.ModelSpec model_spec = 1; "
    "map<string, google.protobuf.Any> metadata = 2",
    "tensorflow.serving.GetModelStatusRequest": "tensorflow.serving.ModelSpec model_spec = 1",
    "tensorflow.serving.GetModelStatusResponse": "repeated tensorflow.serving.ModelVersionStatus "
    "model_version_status = 1",
    "tensorflow.serving.ModelVersionStatus": "int64 version = 1; "
    "tensorflow.serving.ModelVersionStatus.State state = 2; "
    "tensorflow.serving.StatusProto status = 3",
    "tensorflow.serving.StatusProto": "tensorflow.error.Code error_code = 1; "
    "string error_message = 2",
    "tensorflow.serving.ReloadConfigRequest": "tensorflow.serving.ModelServerConfig config = 1",
    "tensorflow.serving.ReloadConfigResponse": "tensorflow.serving.StatusProto status = 1",
    "tensorflow.serving.ModelServerConfig": "oneof config tensorflow.serving.ModelConfigList "
    "model_config_list = 1; oneof config google.protobuf.Any custom_model_config = 2",
    "tensorflow.serving.ModelConfigList": "repeated tensorflow.serving.ModelConfig config = 1",
    "tensorflow.serving.ModelConfig": "string name = 1; string base_path = 2; "
    "tensorflow.serving.ModelType model_type = 3; string model_platform = 4; "
    "tensorflow.serving.LoggingConfig logging_config = 6; "
    f"{_POLICY} model_version_policy = 7; map<string, int64> version_labels = 8",
    "tensorflow.serving.LoggingConfig": "tensorflow.serving.LogCollectorConfig "
    "log_collector_config = 1; tensorflow.serving.SamplingConfig sampling_config = 2",
    "tensorflow.serving.LogCollectorConfig": "string type = 1; string filename_prefix = 2",
    "tensorflow.serving.SamplingConfig": "double sampling_rate = 1; int32 attributes = 2",
    "tensorflow.serving.FileSystemStoragePathSourceConfig": "",
    _POLICY: f"oneof policy_choice {_POLICY}.Latest latest = 100; "
    f"oneof policy_choice {_POLICY}.All all = 101; "
    f"oneof policy_choice {_POLICY}.Specific specific = 102",
    f"{_POLICY}.Latest": "uint32 num_versions = 1",
    f"{_POLICY}.All": "",
    f"{_POLICY}.Specific": "repeated int64 versions = 1",
    "tensorflow.serving.PredictLog": "tensorflow.serving.PredictRequest request = 1; "
    "tensorflow.serving.PredictResponse response = 2",
    "tensorflow.serving.PredictionLog": "oneof log_type tensorflow.serving.PredictLog "
    "predict_log = 6",
    "tensorflow.serving.BatchingParameters": "google.protobuf.Int64Value max_batch_size = 1; "
    "google.protobuf.Int64Value batch_timeout_micros = 2; "
    "google.protobuf.Int64Value max_enqueued_batches = 3; "
    "google.protobuf.Int64Value num_batch_threads = 4; "
    "google.protobuf.StringValue thread_pool_name = 5; repeated int64 allowed_batch_sizes = 6; "
    "bool pad_variable_length_inputs = 7",
    "tensorflow.serving.PrometheusConfig": "bool enable = 1; string path = 2",
    "tensorflow.serving.MonitoringConfig": "tensorflow.serving.PrometheusConfig "
    "prometheus_config = 1",
}

_ENUMS = {
    "tensorflow.DataType": "DT_INVALID = 0; DT_FLOAT = 1; DT_DOUBLE = 2; DT_INT32 = 3; "
    "DT_UINT8 = 4; DT_INT16 = 5; DT_INT8 = 6; DT_STRING = 7; DT_COMPLEX64 = 8; DT_INT64 = 9; "
    "DT_BOOL = 10; DT_QINT8 = 11; DT_QUINT8 = 12; DT_QINT32 = 13; DT_BFLOAT16 = 14; "
    "DT_QINT16 = 15; DT_QUINT16 = 16; DT_UINT16 = 17; DT_COMPLEX128 = 18; DT_HALF = 19; "
    "DT_RESOURCE = 20; DT_VARIANT = 21; DT_UINT32 = 22; DT_UINT64 = 23",
    "tensorflow.error.Code": "OK = 0; CANCELLED = 1; UNKNOWN = 2; INVALID_ARGUMENT = 3; "
    "DEADLINE_EXCEEDED = 4; NOT_FOUND = 5; ALREADY_EXISTS = 6; PERMISSION_DENIED = 7; "
    "RESOURCE_EXHAUSTED = 8; FAILED_PRECONDITION = 9; ABORTED = 10; OUT_OF_RANGE = 11; "
    "UNIMPLEMENTED = 12; INTERNAL = 13; UNAVAILABLE = 14; DATA_LOSS = 15; UNAUTHENTICATED = 16",
    "tensorflow.serving.ModelVersionStatus.State": "UNKNOWN = 0; START = 10; LOADING = 20; "
    "AVAILABLE = 30; UNLOADING = 40; END = 50",
    "tensorflow.serving.ModelType": "MODEL_TYPE_UNSPECIFIED = 0; TENSORFLOW = 1; OTHER = 2",
}

_FIELD = re.compile(
    r"(?:(?P<repeated>repeated)|oneof (?P<oneof>\w+))? ?"
    r"(?:map<(?P<key>\w+), (?P<value>[\w.]+)>|(?P<type>[\w.]+)) (?P<name>\w+) = (?P<number>\d+)"
)
_Field = descriptor_pb2.FieldDescriptorProto


def _pool() -> descriptor_pool.DescriptorPool:
    """All messages and enums, a file per package."""
    pool = descriptor_pool.DescriptorPool()
    known = [any_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR]
    for file in known:
        pool.AddSerializedFile(file.serialized_pb)
    files, messages = {}, {}
    for package in ("tensorflow.error", "tensorflow", "tensorflow.serving"):
        file = descriptor_pb2.FileDescriptorProto(
            name=f"cellzoo/{package}.proto", package=package, syntax="proto3"
        )
        file.dependency.extend([*(f.name for f in known), *(f.name for f in files.values())])
        files[package] = file
    for name in _MESSAGES:
        place, _, last = name.rpartition(".")
        home = files[place].message_type if place in files else messages[place].nested_type
        messages[name] = home.add(name=last)
    for name, values in _ENUMS.items():
        place, _, last = name.rpartition(".")
        enum = (files[place] if place in files else messages[place]).enum_type.add(name=last)
        for value in values.split("; "):
            label, _, number = value.partition(" = ")
            enum.value.add(name=label, number=int(number))
    for name, fields in _MESSAGES.items():
        for field in filter(None, fields.split("; ")):
            _add_field(messages[name], name, _FIELD.fullmatch(field))
    for file in files.values():
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, field: re.Match) -> None:
    label = _Field.LABEL_REPEATED if field["repeated"] or field["key"] else _Field.LABEL_OPTIONAL
    added = message.field.add(name=field["name"], number=int(field["number"]), label=label)
    if field["key"]:  # a map is a repeated message of keys and values
        entry = message.nested_type.add(name=field["name"].title().replace("_", "") + "Entry")
        entry.options.map_entry = True
        for number, part in enumerate(("key", "value"), 1):
            _set_type(entry.field.add(name=part, number=number, label=1), field[part])
        _set_type(added, f"{name}.{entry.name}")
    else:
        _set_type(added, field["type"])
    if field["oneof"]:
        if field["oneof"] not in [choice.name for choice in message.oneof_decl]:
            message.oneof_decl.add(name=field["oneof"])
        added.oneof_index = [choice.name for choice in message.oneof_decl].index(field["oneof"])


def _set_type(field: descriptor_pb2.FieldDescriptorProto, kind: str) -> None:
    if "." not in kind:
        field.type = getattr(_Field, f"TYPE_{kind.upper()}")
        return
    field.type = _Field.TYPE_ENUM if kind in _ENUMS else _Field.TYPE_MESSAGE
    field.type_name = f".{kind}"


_POOL = _pool()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


def _enum(name: str) -> dict[str, int]:
    return {value.name: value.number for value in _POOL.FindEnumTypeByName(name).values}


TensorShapeProto = _message("tensorflow.TensorShapeProto")
TensorProto = _message("tensorflow.TensorProto")
TensorInfo = _message("tensorflow.TensorInfo")
SignatureDef = _message("tensorflow.SignatureDef")
SavedModel = _message("tensorflow.SavedModel")
ModelSpec = _message("tensorflow.serving.ModelSpec")
PredictRequest = _message("tensorflow.serving.PredictRequest")
PredictResponse = _message("tensorflow.serving.PredictResponse")
SignatureDefMap = _message("tensorflow.serving.SignatureDefMap")
GetModelMetadataRequest = _message("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = _message("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest = _message("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = _message("tensorflow.serving.GetModelStatusResponse")
ModelVersionStatus = _message("tensorflow.serving.ModelVersionStatus")
StatusProto = _message("tensorflow.serving.StatusProto")
ReloadConfigRequest = _message("tensorflow.serving.ReloadConfigRequest")
ReloadConfigResponse = _message("tensorflow.serving.ReloadConfigResponse")
ModelServerConfig = _message("tensorflow.serving.ModelServerConfig")
ModelConfig = _message("tensorflow.serving.ModelConfig")
PredictLog = _message("tensorflow.serving.PredictLog")
PredictionLog = _message("tensorflow.serving.PredictionLog")
BatchingParameters = _message("tensorflow.serving.BatchingParameters")
MonitoringConfig = _message("tensorflow.serving.MonitoringConfig")

DATA_TYPES = _enum("tensorflow.DataType")
CODES = _enum("tensorflow.error.Code")
STATES = _enum("tensorflow.serving.ModelVersionStatus.State")
