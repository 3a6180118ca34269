"""Models to serve in tests, and a server for them.

The protocol tests can be pointed at a stock TensorFlow Serving. MODELS is an absolute path to a new
folder; in a container, mount it at the same path.

    python tests/serving/conftest.py MODELS      # writes the models and MODELS/models.config
    tensorflow_model_server --port=8500 --rest_api_port=8501 \\
        --model_config_file=MODELS/models.config --max_num_load_retries=0 \\
        --allow_version_labels_for_unavailable_models=true \\
        --monitoring_config_file=serving/monitoring.config
    CELLZOO_SERVING_ADDRESS=localhost:8500 CELLZOO_SERVING_REST=localhost:8501 \\
        CELLZOO_SERVING_MODELS=MODELS pytest tests/serving/test_protocol.py

Without CELLZOO_SERVING_REST the tests of REST are skipped, without CELLZOO_SERVING_MODELS those in
which versions appear. They change MODELS: write it anew for another run. TensorFlow Serving makes
no batches unless it is told to; for the test of their size start it with --enable_batching and
--batching_parameters_file=MODELS/batching.config too, and set CELLZOO_SERVING_BATCHING=1.
"""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def save_half(folder, version, number=None):
    """``y = x / 2 + version``: the answer tells which version gave it."""
    import tensorflow as tf

    class Half(tf.Module):
        def __init__(self):
            super().__init__()
            self.offset = tf.Variable(float(version))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def half(self, x):
            return {"y": x / 2 + self.offset}

    module = Half()
    path = folder / str(number or version)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.half})
    return path


def save_two(folder):
    """Two inputs, three outputs, one of them bytes."""
    import tensorflow as tf

    class Two(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.float32, name="a"),
                tf.TensorSpec([None], tf.string, name="b"),
            ]
        )
        def two(self, a, b):
            return {"double": 2 * a, "length": tf.strings.length(b), "same_bytes": b}

    module = Two()
    tf.saved_model.save(module, str(folder / "1"), signatures={"serving_default": module.two})


def save_cells(folder, version=1, offset=0.0):
    """A small convolutional counter of 8 x 8 px or more, by pixel type as cellzoo exports it."""
    import tensorflow as tf

    class Cells(tf.Module):
        def __init__(self):
            super().__init__()
            kernel = np.random.default_rng(3).normal(size=(3, 3, 1, 4))
            self.kernel = tf.Variable(kernel.astype(np.float32))
            self.offset = tf.Variable(np.float32(offset))

        def count(self, images):
            images = tf.ensure_shape(images, [None, None, None])
            size = tf.shape(images)
            checks = [
                tf.debugging.assert_greater_equal(size[1:], 8, "images are smaller than 8 px"),
                tf.debugging.assert_positive(size[0], "no image"),
            ]
            with tf.control_dependencies(checks):
                features = tf.nn.conv2d(images[..., None], self.kernel, 2, "SAME")
                count = tf.reduce_sum(tf.nn.softplus(features), [1, 2, 3]) / 10 + self.offset
            return {"count": count, "count_low": count - 1, "count_high": count + 1}

        def of(self, dtype, name):
            spec = tf.TensorSpec([None, None, None], dtype, name="images")

            @tf.function(input_signature=[spec])
            def counted(images):
                return self.count(tf.cast(images, tf.float32) / (dtype.max if name else 1))

            return counted

    module = Cells()
    module.functions = {
        "serving_default": module.of(tf.float32, ""),
        "uint8": module.of(tf.uint8, "uint8"),
        "uint16": module.of(tf.uint16, "uint16"),
    }
    path = folder / str(version)
    tf.saved_model.save(module, str(path), signatures=module.functions)
    return path


def write_warmup(path, name, key, array):
    """One warm-up record beside a SavedModel."""
    import tensorflow as tf

    from cellzoo.protocol.messages import PredictionLog
    from cellzoo.protocol.tensors import to_message

    log = PredictionLog()
    log.predict_log.request.model_spec.name = name
    log.predict_log.request.inputs[key].CopyFrom(to_message(array))
    (path / "assets.extra").mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())


LATER = "later-2"  # a version that is not to be seen yet
MAX_BATCH = 4  # images, of the server that the protocol tests ask

CONFIG = """\
model_config_list {{
  config {{
    name: "half" base_path: "{base}/half" model_platform: "tensorflow"
    model_version_policy {{ all {{ }} }}
    version_labels {{ key: "stable" value: 1 }} version_labels {{ key: "canary" value: 2 }}
  }}
  config {{ name: "latest" base_path: "{base}/latest" model_platform: "tensorflow" }}
  config {{ name: "two" base_path: "{base}/two" model_platform: "tensorflow" }}
  config {{ name: "cells" base_path: "{base}/cells" model_platform: "tensorflow" }}
  config {{
    name: "badwarm" base_path: "{base}/badwarm" model_platform: "tensorflow"
    model_version_policy {{ all {{ }} }}
  }}
}}
"""


def write_models(base):
    """All models of the protocol tests and their configuration.

    Version 2 of ``badwarm`` waits under a name that is no number: a stock server does not start
    with a model whose newest version cannot be loaded.
    """
    base = Path(base).resolve()
    save_half(base / "half", 1)
    save_half(base / "half", 2)
    shutil.copytree(base / "half", base / "latest")
    shutil.copytree(base / "half" / "1", base / "badwarm" / "1")
    shutil.copytree(base / "half" / "2", base / "badwarm" / LATER)
    save_two(base / "two")
    save_cells(base / "cells")
    write_warmup(base / "badwarm" / LATER, "badwarm", "wrong", np.zeros(1, np.float32))
    return write_configuration(base)


def write_configuration(base):
    """The configuration of the models in a folder; returns it."""
    (base / "models.config").write_text(CONFIG.format(base=base))
    (base / "batching.config").write_text(f"max_batch_size {{ value: {MAX_BATCH} }}\n")
    return base


@pytest.fixture(scope="session")
def served_models(tmp_path_factory):
    """Folder of the models of the protocol tests. Not to be changed."""
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def models_to_change(served_models, tmp_path_factory):
    """A copy of the models of the protocol tests."""
    base = tmp_path_factory.mktemp("changing") / "models"
    shutil.copytree(served_models, base)
    return write_configuration(base)


@pytest.fixture
def serve():
    """A function of models (a folder or a config file) and settings that starts a server."""
    from cellzoo.serving.config import read_model_config, watch_models
    from cellzoo.serving.server import Server, Settings

    servers = []

    def start(models, **settings):
        read = read_model_config(models) if models.is_file() else None
        configs = (lambda: read) if read else watch_models(models)
        settings = {"grpc_port": 0, "rest_port": 0, "poll_seconds": 0.05, **settings}
        servers.append(Server(configs, Settings(**settings)))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


if __name__ == "__main__":
    print(f"wrote {write_models(sys.argv[1])}/models.config")
