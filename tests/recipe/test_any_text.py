"""Whatever is written into a recipe or behind --set, the answer is a recipe or a sentence."""

import re
import string

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from cellzoo import recipe as schema
from cellzoo.errors import UsageError
from cellzoo.recipe import load_recipe
from cellzoo.section import Section
from cellzoo.synthetic.settings import Synthetic

SIMPLE = """\
name: simple
data:
  natural:
    source: simulated
    modality: bf
    train: 30
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

FULL = yaml.safe_load(SIMPLE) | {
    "augment": schema.Augment().model_dump(),
    "train": schema.Train().model_dump(),
    "quick": {"train": {"patience": 3}, "loss": {"kl_weight": 0.2}},
}
FULL["data"]["synthetic"] = Synthetic(preset="bf").model_dump()


def _paths(tree, prefix=()):
    for key, value in tree.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from _paths(value, (*prefix, key))


PATHS = sorted(_paths(FULL))


def _all_sections(section=Section):
    for kind in section.__subclasses__():
        yield kind
        yield from _all_sections(kind)


VALID_WORDS = {key for section in _all_sections() for key in section.model_fields} | {"quick"}


@st.composite
def misspellings(draw):
    """A path of keys of FULL, and a word at most one edit away from the last of them."""
    path = draw(st.sampled_from(PATHS))
    word, letter = path[-1], draw(st.sampled_from(string.ascii_lowercase + "_"))
    at = draw(st.integers(0, len(word) - 1))
    edits = {
        "delete": word[:at] + word[at + 1 :],
        "insert": word[:at] + letter + word[at:],
        "replace": word[:at] + letter + word[at + 1 :],
        "swap": word[:at] + word[at : at + 2][::-1] + word[at + 2 :],
        "case": word[:at] + word[at].upper() + word[at + 1 :],
    }
    wrong = edits[draw(st.sampled_from(sorted(edits)))]
    # `on` would be no word at all to YAML: test_a_wrong_recipe_... has such keys.
    while wrong in VALID_WORDS or yaml.safe_load(wrong) != wrong:
        wrong += "q"
    return path, wrong


def _renamed(tree, path, wrong):
    first, *rest = path
    return {
        (wrong if key == first and not rest else key): (
            _renamed(value, rest, wrong) if key == first and rest else value
        )
        for key, value in tree.items()
    }


@given(misspellings())
@example((("data", "natural", "source"), "sourc"))
@example((("model", "name"), "nmae"))
@example((("quick",), "quick_"))
def test_any_misspelt_key_is_answered_with_its_line_and_the_nearest_key(
    tmp_path_factory, misspelling
):
    path, wrong = misspelling
    text = yaml.safe_dump(_renamed(FULL, path, wrong), sort_keys=False)
    line = 1 + next(
        k for k, row in enumerate(text.splitlines()) if row.strip().startswith(f"{wrong}:")
    )
    file = tmp_path_factory.getbasetemp() / "misspelt.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        load_recipe(file)
    assert re.match(rf"{re.escape(str(file))}:{line}: there is no key ", str(error.value))
    if len(path[-1]) > 3:
        assert str(error.value).endswith(f"did you mean {path[-1]}?")


@given(st.text(max_size=60))
@example("data: {natural: &a {source: *a}}")
@example("? - a\n: b")
@example("name: !!int x")
@example("name: !!timestamp x")
@example("<<: [1]")
def test_no_text_at_all_breaks_the_reader(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    with pytest.raises(UsageError):
        load_recipe(file)


@given(st.sampled_from(sorted(".".join(p) for p in PATHS if p[0] != "quick")), st.text(max_size=20))
def test_no_set_breaks_the_reader(tmp_path_factory, key, value):
    file = tmp_path_factory.getbasetemp() / "any_set.yaml"
    file.write_text(SIMPLE)
    try:
        load_recipe(file, [f"{key}={value}"])
    except UsageError as error:
        assert str(error).startswith("--set")
