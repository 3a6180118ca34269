"""How TensorFlow is started."""

import subprocess
import sys

import pytest

START = """
import sys
from cellzoo import backend
backend.alone = {alone}
backend.start_tensorflow()
print("sklearn" in sys.modules, "matplotlib" in sys.modules)
import matplotlib.pyplot, sklearn.base
"""


@pytest.mark.parametrize("alone", [False, True])
def test_keras_starts_without_its_wrappers_where_nobody_else_uses_it(alone):
    call = [sys.executable, "-c", START.format(alone=alone)]
    said = subprocess.run(call, check=True, capture_output=True, text=True).stdout
    assert said.split() == [str(not alone)] * 2
