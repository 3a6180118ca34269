"""What a SavedModel may do is seen before it is loaded."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from cellzoo.errors import UserError
from cellzoo.protocol.messages import PredictionLog
from cellzoo.protocol.operations import ForeignOperations, check_operations, foreign_operations
from cellzoo.protocol.tensors import to_message
from cellzoo.serving import engines
from cellzoo.serving.engines import Service
from cellzoo.serving.servable import Servable


def write_warmup(path, name, key, array):
    log = PredictionLog()
    log.predict_log.request.model_spec.name = name
    log.predict_log.request.inputs[key].CopyFrom(to_message(array))
    (path / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(path / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())


def save(folder, function, **variables):
    """A SavedModel of a function of float32 [n]."""
    module = tf.Module()
    module.variables_ = variables
    spec = tf.TensorSpec([None], tf.float32, name="x")
    module.run = tf.function(function, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures=module.run)
    return folder


def test_models_that_calculate_pass(served_models):
    for name in ("half", "two", "cells"):
        check_operations(served_models / name / "1")


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
def test_what_reaches_files_or_python_is_named_and_not_run(tmp_path, nested):
    mark = tmp_path / "mark"

    def write(x):
        tf.io.write_file(str(mark), "written")
        return {"y": x}

    def read(x):
        return {"y": x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)}

    def python(x):
        return {"y": tf.numpy_function(lambda value: value, [x], tf.float32)}

    def listed(x):
        return {"y": x + tf.cast(tf.size(tf.io.matching_files("/*")), tf.float32)}

    def within(function):
        def outer(x):
            inner = tf.function(function)
            return {"y": tf.cond(tf.size(x) > 3, lambda: inner(x)["y"], lambda: x)}

        return outer if nested else function

    wanted = {write: "WriteFile", read: "ReadFile", python: "PyFunc", listed: "MatchingFiles"}
    for k, (function, operation) in enumerate(wanted.items()):
        folder = save(tmp_path / "model" / str(k), within(function))
        with pytest.raises(ForeignOperations, match=f"holds {operation}.*--trust"):
            Servable("model", 1, folder)
    assert not mark.exists()
    folder = tmp_path / "model" / "0"
    Servable("model", 1, folder, trust=True).run("serving_default", {"x": np.zeros(9, np.float32)})
    assert mark.exists()


def test_a_checkpoint_is_written_by_its_saver_alone(tmp_path):
    def careful(x):
        return {"y": x + offset}

    def forged(x):
        tf.raw_ops.SaveV2(
            prefix=str(tmp_path / "mark"), tensor_names=["x"], shape_and_slices=[""], tensors=[x]
        )
        return {"y": x}

    offset = tf.Variable(1.0)
    folder = save(tmp_path / "careful", careful, offset=offset)
    content = (folder / "saved_model.pb").read_bytes()
    assert b"SaveV2" in content and foreign_operations(content) == []
    forged_content = (save(tmp_path / "forged", forged) / "saved_model.pb").read_bytes()
    assert "SaveV2" in foreign_operations(forged_content)

    def changed(change):
        """The careful model, whose saver can be called otherwise."""
        saved = saved_model_pb2.SavedModel.FromString(content)
        graph = saved.meta_graphs[0]
        name = graph.saver_def.save_tensor_name
        (saver,) = [n for n in graph.graph_def.node if n.name == name.partition(":")[0]]
        change(graph, saver)
        return foreign_operations(saved.SerializeToString())

    def by_signature(graph, saver):
        graph.signature_def["serving_default"].outputs["y"].name = f"{saver.name}:0"

    def by_node(graph, saver):
        graph.graph_def.node.add(name="again", op="Identity", input=[f"{saver.name}:0"])

    def by_another_call(graph, saver):
        graph.graph_def.node.add(name="again", op="If").attr["then_branch"].CopyFrom(
            saver.attr["f"]
        )

    def by_its_name(graph, saver):
        graph.graph_def.node.add(name="again", op=saver.attr["f"].func.name)

    def by_the_loader(graph, saver):
        graph.object_graph_def.concrete_functions[saver.attr["f"].func.name].SetInParent()

    for change in (by_signature, by_node, by_another_call, by_its_name, by_the_loader):
        assert "SaveV2" in changed(change), change.__name__


def test_rubbish_is_a_sentence(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff" * 50)
    with pytest.raises(ValueError, match="damaged"):
        check_operations(tmp_path)


def test_a_strangers_model_is_served_by_neither_server(tmp_path, serve, monkeypatch):
    def write(x):
        tf.io.write_file(str(tmp_path / "mark"), "written")
        return {"y": x}

    models = tmp_path / "models"
    write_warmup(save(models / "stranger" / "1", write), "stranger", "x", np.zeros(1, np.float32))
    assert serve(models).models.names == [] and not (tmp_path / "mark").exists()
    monkeypatch.setattr(engines.shutil, "which", lambda name: f"/usr/bin/{name}")
    service = Service(models, host="0.0.0.0", engine="tensorflow")
    with pytest.raises(UserError, match="holds WriteFile"):
        engines.serve(service)
    assert serve(models, trust=True).models.names == ["stranger"]
    assert (tmp_path / "mark").exists()  # by its warm-up record
