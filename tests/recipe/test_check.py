"""What the sections of a recipe ask of each other."""

# ruff: noqa: E501 - a table with a case on each line reads best

import pytest

from cellzoo.errors import UsageError, UserError
from cellzoo.recipe.check import check_recipe


def test_axes_of_stacks_are_checked_with_the_recipe(load):
    folder = "data.natural={source: folder, folder: here, axes: TXZ}"
    with pytest.raises(UsageError, match="data.natural.axes: 'TXZ' must name every dimension"):
        check_recipe(load(load.simple, folder))


def test_the_spatial_twins_decoder_has_no_cross_entropy(load):
    spatial = load.simple.replace("name: twinvae\n  latent: 8", "name: twinvae_spatial")
    check_recipe(load(spatial))
    with pytest.raises(UsageError, match="loss.reconstruction is bce"):
        check_recipe(load(spatial, "loss.reconstruction=bce"))


def test_without_labels_and_synthetic_images_there_is_nothing_to_learn(load):
    without = load.simple.replace("    train: 60\n", "    train: 60\n    labelled: 0\n")
    with pytest.raises(UsageError, match="labelled is 0 and there is no data.synthetic"):
        check_recipe(load(without, "data.synthetic=null"))
    check_recipe(load(without))


CLASSICAL = """\
name: simple
data:
  natural: {source: simulated, modality: bf}
model: {name: brightness}
"""


def test_a_counter_that_is_fitted_in_one_go_needs_labels(load):
    settings = ("data.natural.labelled=0", "data.synthetic={preset: bf}")
    for chosen in (settings[:1], settings):
        with pytest.raises(UsageError, match="labelled is 0, but brightness is fitted on labelled"):
            check_recipe(load(CLASSICAL, *chosen))


def test_a_counter_that_is_fitted_in_one_go_has_no_use_for_synthetic_images(load):
    with pytest.raises(UsageError, match="brightness learns from natural images alone"):
        check_recipe(load(CLASSICAL, "data.synthetic={preset: bf}"))


def test_check_tries_the_named_transforms(load):
    text = load.simple + "augment:\n  extra:\n    - {name: %s, p: 0.5}\n"
    check_recipe(load(text % "ElasticTransform"))
    assert load(load(text % "Blur").to_yaml()).augment.extra == [{"name": "Blur", "p": 0.5}]
    with pytest.raises(UsageError, match="Elastic, .*; did you mean ElasticTransform?"):
        check_recipe(load(text % "Elastic"))


def test_check_turns_squares_only(load):
    text = load.simple.replace("name: twinvae\n  latent: 8", "name: dcc\n  image_size: %s")
    text = text.replace("  synthetic:\n    preset: bf\n    radius: [3, 5]\n", "")
    text = text.replace("source: simulated\n    modality: bf\n", "source: simulated_fluorescence\n")
    check_recipe(load(text % 64, "count.test_time_augmentation=8"))
    check_recipe(load(text % [64, 64], "count.test_time_augmentation=8"))
    check_recipe(load(text % [64, 96], "count.test_time_augmentation=4"))
    with pytest.raises(UsageError) as error:
        check_recipe(load(text % [64, 96], "count.test_time_augmentation=8"))
    assert str(error.value) == (
        "count.test_time_augmentation is 8, but images of 96 x 64 px do not fit the network when "
        "they are turned by 90 degrees: choose 4."
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("stains: [1, 3]", "data.natural.stains.1 is 3, but input should be 1 or 2."),
        ("stains: []", "data.natural.stains is [], but list should have at least 1 item"),
        ("clustring: 0.1", "there is no key data.natural.clustring; did you mean clustering?"),
        ("blur: [1]", "data.natural.blur has only 1 of its values"),
        ("radius: [9, 5]", "data.natural.radius is [9, 5], but the first is above the second: write [lowest, highest]."),
        ("radius: [1, 5]", "data.natural.radius.0 is 1, but input should be greater than or equal to 2."),
        ("count_range: [9, 5]", "data.natural.count_range is [9, 5], but the first is above"),
        ("test_count_range: [1, 5000]", "data.natural.test_count_range says 5000 cells in an image of 128 x 128 px,"),
    ],
)  # fmt: skip
def test_wrong_values_of_simulated_fluorescence(load, line, sentence):
    text = load.simple.replace("source: simulated", "source: simulated_fluorescence")
    check_recipe(load(text.replace("    modality: bf\n", "")))
    with pytest.raises(UsageError) as error:
        check_recipe(load(text.replace("    modality: bf\n    train: 60\n", f"    {line}\n")))
    assert sentence in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("data.natural.labelled=61", "data.natural.labelled is 61, but only 60 images are simulated"),
        ("data.natural.test=5", "test_labelled is 62, but only 5 images are simulated for test"),
        ("model={name: twinvae_spatial, image_size: 64}", "simulated images have 128 px: set it to"),
    ],
)
def test_what_no_simulated_microscope_can_give_is_found_before_it_is_asked(load, setting, sentence):
    with pytest.raises(UsageError, match=sentence):
        check_recipe(load(load.simple, setting))


DOTTED = """\
name: dotted
data:
  natural: {source: folder, folder: here}
augment: {window: 32, crop: 1}
model: {name: twin_density, image_size: 64}
"""


def test_windows_need_a_model_that_counts_by_places(load):
    check_recipe(load(DOTTED))
    check_recipe(load(DOTTED, "model={name: dcc, head: additive, image_size: [64, 96]}"))
    for model in ("{name: dcc, image_size: 56}", "{name: efficientnet}"):
        with pytest.raises(UsageError, match="augment.window is 32, but .* not count by places"):
            check_recipe(load(DOTTED, f"model={model}"))


@pytest.mark.parametrize("side", [36, 72])
def test_windows_fit_the_network_and_the_images(load, side):
    with pytest.raises(UsageError, match="choose a multiple of 8 that is at most 64, the side of"):
        check_recipe(load(DOTTED, f"augment.window={side}"))


def test_windows_are_of_real_images(load):
    with pytest.raises(UsageError, match="augment.window cuts real images alone"):
        check_recipe(load(DOTTED, "data.synthetic={preset: bf}"))


MIXED = """\
name: simple
data:
  natural:
    source: mixed
    sets: [{name: chambers, diameter: 13, images: {source: simulated, modality: bf}}]
augment: {crop: 1}
model: {name: twin_density}
"""


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("model={name: twinvae}", "cannot count these: choose twin_density"),
        ("augment.crop=0.9", "parts of its images have no known count"),
        ("augment.window=64", "parts of its images have no known count"),
        ("augment.overlay=14", "parts of its images have no known count"),
        ("model.image_size=64", "more than model.image_size"),
        ("data.natural.leave_out=[chambers]", "leaves no set"),
    ],
)
def test_images_of_several_kinds_are_counted_whole_and_at_any_size(load, setting, sentence):
    check_recipe(load(MIXED))
    with pytest.raises(UserError, match=sentence):
        check_recipe(load(MIXED, setting))
