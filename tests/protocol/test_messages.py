"""The messages on the wire: byte for byte what tensorflow-serving-api 2.21 and TensorFlow write."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, text_format

from cellzoo.protocol import messages

# Text of a message, and the bytes that tensorflow-serving-api 2.21.0 makes of it.
WIRE = {
    "PredictionLog": (
        'predict_log { request { model_spec { name: "cells" version { value: 3 } signature_name: '
        '"uint8" } inputs { key: "images" value { dtype: DT_UINT8 tensor_shape { dim { size: 1 } '
        'dim { size: 2 } dim { size: 2 } } tensor_content: "\\001\\002\\003\\004" } } '
        'output_filter: "count" } response { outputs { key: "count" value { dtype: DT_FLOAT '
        "tensor_shape { dim { size: 1 } } float_val: 2.5 } } model_spec { name: "
        '"cells" version_label: "stable" } } }',
        "326b0a3d0a120a0563656c6c73120208031a0575696e743812200a06696d6167657312160804120c1202080112"
        "020802120208022204010203041a05636f756e74122a0a170a05636f756e74120e08011204120208012a040000"
        "2040120f0a0563656c6c732206737461626c65",
    ),
    "GetModelStatusResponse": (
        "model_version_status { version: 2 state: AVAILABLE status { } } model_version_status { "
        'version: 1 state: END status { error_code: NOT_FOUND error_message: "gone" } }',
        "0a060802101e1a000a0e080110321a0808051204676f6e65",
    ),
    "ReloadConfigRequest": (
        'config { model_config_list { config { name: "cells" base_path: "/models/cells" '
        'model_platform: "tensorflow" model_version_policy { specific { versions: 1 versions: 2 } }'
        ' version_labels { key: "stable" value: 1 } } } }',
        "0a3b0a390a370a0563656c6c73120d2f6d6f64656c732f63656c6c73220a74656e736f72666c6f773a07b20604"
        "0a020102420a0a06737461626c651001",
    ),
    "GetModelMetadataResponse": (
        'model_spec { name: "cells" } metadata { key: "signature_def" value { '
        "[type.googleapis.com/tensorflow.serving.SignatureDefMap] { signature_def { key: "
        '"serving_default" value { inputs { key: "images" value { name: "x:0" dtype: DT_FLOAT '
        'tensor_shape { dim { size: -1 } } } } outputs { key: "count" value { name: "y:0" dtype: '
        'DT_FLOAT } } method_name: "tensorflow/serving/predict" } } } } }',
        "0a070a0563656c6c7312b1010a0d7369676e61747572655f646566129f010a36747970652e676f6f676c656170"
        "69732e636f6d2f74656e736f72666c6f772e73657276696e672e5369676e61747572654465664d617012650a63"
        "0a0f73657276696e675f64656661756c7412500a200a06696d6167657312160a03783a3010011a0d120b08ffff"
        "ffffffffffffff0112100a05636f756e7412070a03793a3010011a1a74656e736f72666c6f772f73657276696e"
        "672f70726564696374",
    ),
}


@pytest.mark.parametrize("name", WIRE)
def test_bytes_are_those_of_the_official_package(name):
    text, wire = WIRE[name]
    kind = getattr(messages, name)
    pool = messages.PredictRequest.DESCRIPTOR.file.pool
    message = text_format.Parse(text, kind(), descriptor_pool=pool)
    assert message.SerializeToString(deterministic=True).hex() == wire
    assert kind.FromString(bytes.fromhex(wire)) == message


@pytest.mark.parametrize("name", ["TensorProto", "TensorInfo", "SignatureDef", "SavedModel"])
def test_fields_are_tensorflows(name):
    from tensorflow.core.framework import tensor_pb2
    from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

    homes = (tensor_pb2, meta_graph_pb2, saved_model_pb2)
    theirs = next(getattr(home, name) for home in homes if hasattr(home, name)).DESCRIPTOR

    def described(field):
        kind = field.message_type or field.enum_type
        return (
            field.number, field.type, field.is_repeated, field.is_packed, kind and kind.full_name
        )  # fmt: skip

    for field in getattr(messages, name).DESCRIPTOR.fields:
        assert described(field) == described(theirs.fields_by_name[field.name]), field.name


def test_the_messages_need_no_tensorflow():
    program = (
        "import sys, cellzoo.protocol.messages; "
        "print([m for m in ('tensorflow', 'keras', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_compiled_descriptors_are_those_of_the_proto_files(tmp_path):
    if not importlib.util.find_spec("grpc_tools"):
        pytest.skip("grpcio-tools is not installed")
    folder = Path(messages.__file__).parent
    names = [f"cellzoo/protocol/{name}.proto" for name in ("error", "tensorflow", "serving")]
    assert {file.name for file in folder.glob("*.proto")} == {Path(name).name for name in names}
    compiled = tmp_path / "anew.binpb"
    arguments = [f"-I{folder.parents[1]}", f"--descriptor_set_out={compiled}", *names]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)
    here, anew = (
        descriptor_pb2.FileDescriptorSet.FromString(file.read_bytes())
        for file in (folder / messages.DESCRIPTORS, compiled)
    )
    assert here == anew, "write messages.binpb anew: messages.py says how"
