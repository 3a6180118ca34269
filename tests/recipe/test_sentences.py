"""A wrong recipe is answered in one sentence: where, what, and the cure."""

# ruff: noqa: E501 - a table with a case on each line reads best

import pytest


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("model:", "modle:", "recipe.yaml:10: there is no key modle; did you mean model?"),
        ("quick:", "quik:", "recipe.yaml:18: there is no key quik; did you mean quick?"),
        ("natural:", "naturel:", "recipe.yaml:3: there is no key data.naturel; did you mean natural?"),
        ("    train: 60", "    trian: 3", "recipe.yaml:6: there is no key data.natural.trian; did you mean train?"),
        ("source:", "sorce:", "recipe.yaml:4: there is no key data.natural.sorce; did you mean source?"),
        ("name: twinvae", "nam: twinvae", "recipe.yaml:11: there is no key model.nam; did you mean name?"),
        ("latent:", "laten:", "recipe.yaml:12: there is no key model.laten; did you mean latent?"),
        ("radius:", "raduis:", "recipe.yaml:9: there is no key data.synthetic.raduis; did you mean radius?"),
        ("kl_weight:", "zzz:", "recipe.yaml:14: there is no key loss.zzz; valid keys here: count_loss,"),
        ("source: simulated", "source: simulate", "recipe.yaml:3: data.natural.source is simulate; did you mean simulated?"),
        ("source: simulated", "source: 7", "recipe.yaml:3: data.natural.source is 7; it can be simulated, folder, nuclei, mixed, bbbc005, simulated_fluorescence."),
        ("source: simulated", "", "recipe.yaml:3: data.natural.source is missing; it can be simulated, folder, nuclei, mixed, bbbc005, simulated_fluorescence."),
        ("name: twinvae", "name: twinvea", "recipe.yaml:10: model.name is twinvea; did you mean twinvae?"),
        ("name: simple\n", "", "recipe.yaml:1: the key name is missing; add it."),
        ("name: simple", "name: 2021-01-01", "recipe.yaml:1: name is 2021-01-01, but input should be a valid string, write it in quotes (in a shell '\"...\"')."),
        ("name: simple", "name: 2021-13-45", "recipe.yaml:1: this is not valid YAML: 2021-13-45 cannot be read"),
        ("    modality: bf\n", "", "recipe.yaml:3: the key data.natural.modality is missing; add it."),
        ("modality: bf", "modality: df", "recipe.yaml:5: data.natural.modality is df, but input should be 'bf' or 'pc'."),
        ("latent: 8", "latent: 0", "recipe.yaml:12: model.latent is 0, but input should be greater than 0."),
        ("latent: 8", "latent: many", "recipe.yaml:12: model.latent is many, but"),
        ("latent: 8", "latent: [8]", "recipe.yaml:12: model.latent is [8], but"),
        ("latent: 8", "initializer: foo", "recipe.yaml:12: model.initializer is foo, but input should be 'orthogonal'"),
        ("radius: [3, 5]", "radius: [3]", "recipe.yaml:9: data.synthetic.radius has only 1 of its values; add the others."),
        ("radius: [3, 5]", "radius: [3, 4, 5]", "recipe.yaml:9: data.synthetic.radius is [3, 4, 5], but list should have at most 2"),
        ("radius: [3, 5]", "radius: [3, -5]", "recipe.yaml:9: data.synthetic.radius.1 is -5, but"),
        ("radius: [3, 5]", "count_weights: [1, -5]", "recipe.yaml:9: data.synthetic.count_weights.1 is -5, but"),
        ("  kl_weight: 1", "  - kl_weight", "recipe.yaml:13: loss is ['kl_weight'], but input should be a valid section of keys."),
        ("batch: 4", "batch: 4\n  batch: 5", "recipe.yaml:18: this is not valid YAML: the key 'batch' stands twice."),
        ("batch: 4", "on: 4", "recipe.yaml:17: this is not valid YAML: the key on is not a word."),
        ("batch: 4", "? [a, b]\n  : 4", "recipe.yaml:17: this is not valid YAML: the key ['a', 'b'] is not a word."),
        ("  batch: 4", "\tbatch: 4", "recipe.yaml:17: this is not valid YAML: found character '\\t' that cannot start any token."),
        ("batch: 4", "batch: 4: 5", "recipe.yaml:17: this is not valid YAML: mapping values are not allowed here."),
        ("batch: 4", "batch: !!python/name:os.system 4", "recipe.yaml:17: this is not valid YAML: could not determine a constructor"),
        ("batch: 4", "budget: 10 minutes", "recipe.yaml:17: train.budget is 10 minutes, but '10 minutes' is not a duration"),
        ("batch: 4", "batch: .nan", "recipe.yaml:17: train.batch is nan, but"),
        ("batch: 4", "weight_decay: .inf", "recipe.yaml:17: train.weight_decay is inf, but"),
        ("    epochs: 2", "    epochs: 0", "recipe.yaml:20: train.epochs is 0, but"),
        ("    epochs: 2", "    epochs: 2\n  count: {test_time_augmentation: 2}", "recipe.yaml:21: count.test_time_augmentation is 2, but input should be 1, 4 or 8."),
        ("  train:\n    epochs: 2", "  - train", "recipe.yaml:18: quick must be a section of keys."),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_answered_with_line_key_and_cure(load, old, new, sentence):
    answer = load.refusal(load.replaced(old, new))
    assert answer.startswith(sentence)
    assert "\n" not in answer


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("labelled: -1", "data.natural.labelled is -1"),
        ("labelled: false", "data.natural.labelled is False"),
        ("labelled: 1.5", "data.natural.labelled is 1.5"),
        ("size: shrink", "data.natural.size is shrink, but input should be 'error' or 'resize'."),
        ("intensity: [0]", "data.natural.intensity has only 1 of its values"),
        ("intensity: full", "data.natural.intensity is full"),
        ("intensity: [9, 9]", "data.natural.intensity is [9, 9], but the value of black comes first"),
        ("shares: {train: 1, test: 1}", "data.natural.shares is {'train': 1, 'test': 1}, but the"),
        ("shares: {trian: 1}", "data.natural.shares.trian is trian, but input should be 'train'"),
        ("shares: {train: 2}", "data.natural.shares.train is 2, but"),
        ("modality: bf", "there is no key data.natural.modality; valid keys here: assisted, axes"),
    ],
)  # fmt: skip
def test_wrong_values_of_a_folder(load, line, sentence):
    text = load.simple.replace("source: simulated", "source: folder\n    folder: cells")
    text = text.replace("    modality: bf\n    train: 60\n", f"    {line}\n")
    assert load.refusal(text).startswith(f"recipe.yaml:6: {sentence}")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("blurs: [0]", "data.natural.blurs.0 is 0, but"),
        ("size: shrink", "data.natural.size is shrink, but input should be 'error' or 'resize'."),
        ("intensity: dtype", "there is no key data.natural.intensity; valid keys here: blurs,"),
    ],
)  # fmt: skip
def test_wrong_values_of_bbbc005(load, line, sentence):
    text = load.simple.replace("source: simulated", "source: bbbc005\n    folder: cells")
    text = text.replace("    modality: bf\n    train: 60\n", f"    {line}\n")
    assert load.refusal(text).startswith(f"recipe.yaml:6: {sentence}")
