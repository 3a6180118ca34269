"""A recipe to change, and how it loads or is refused."""

import re
from pathlib import Path

import pytest

from cellzoo.errors import UsageError
from cellzoo.recipe import load_recipe

SIMPLE = """\
name: simple
data:
  natural:
    source: simulated
    modality: bf
    train: 60
  synthetic:
    preset: bf
    radius: [3, 5]
model:
  name: twinvae
  latent: 8
loss:
  kl_weight: 1
train:
  epochs: 7
  batch: 4
quick:
  train:
    epochs: 2
"""


class Load:
    """Loads a recipe from its text."""

    simple = SIMPLE

    def __init__(self, folder: Path):
        self.file = folder / "recipe.yaml"

    def __call__(self, text=SIMPLE, *settings, quick=False, paper=False):
        self.file.write_text(text)
        return load_recipe(self.file, settings, quick, paper)

    def refusal(self, text=SIMPLE, *settings, quick=False, paper=False):
        """The sentence with which a recipe is refused, without the folder of the file."""
        with pytest.raises(UsageError) as error:
            self(text, *settings, quick=quick, paper=paper)
        return re.sub(r"\S*(?=recipe\.yaml)", "", str(error.value), count=1)

    def replaced(self, old, new):
        """The simple recipe with another text in the place of one that it has once."""
        assert SIMPLE.count(old) == 1
        return SIMPLE.replace(old, new)


@pytest.fixture
def load(tmp_path):
    return Load(tmp_path)
