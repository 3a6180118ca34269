"""What a training ran on, for ``environment.json``."""

import platform
import sys
import time

import keras
import numpy as np

from cellzoo import __version__, backend
from cellzoo.files import without_folders
from cellzoo.runs import Run


def write_environment(run: Run) -> None:
    """Writes versions, devices, seed, command and time of the start."""
    packages = {"keras": keras.__version__, "numpy": np.__version__}
    devices = []
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        packages["tensorflow"] = tf.__version__
        devices = [device.name for device in tf.config.list_physical_devices()]
    elif keras.backend.backend() == "jax":
        import jax

        packages["jax"] = jax.__version__
        devices = [str(device) for device in jax.devices()]
    run.write_json(
        "environment.json",
        {
            "cellzoo": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": packages,
            "backend": keras.backend.backend(),
            "devices": devices,
            "seed": run.recipe.seed,
            # Of a script or a notebook the words are those of another program.
            "command": list(map(without_folders, sys.argv)) if backend.alone else [],
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        },
    )
