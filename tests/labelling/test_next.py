from collections import Counter

import numpy as np
import pytest
from label_frames import catalogue_of, write_images

from cellzoo.labelling.answers import Answer
from cellzoo.labelling.next import Predicted, own_error, random_error, suggest


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return catalogue_of(write_images(tmp_path_factory.mktemp("images"), groups=20, each=10))


def label(frames, number, predicted=None, count=lambda k: 1):
    """What a person does who answers each suggestion."""
    answers, shown, said = {}, [], []
    for turn in range(number):
        found = suggest(frames, answers, predicted or {}, shown=shown, turn=turn)
        shown.append(found.number)
        said.append(found)
        if found.number is not None and not found.repeat:
            answers[found.number] = Answer(count(found.number), chosen=found.chosen)
    return answers, said


def test_groups_take_turns_and_every_tenth_is_drawn_at_random(frames):
    answers, said = label(frames, 40)
    split = [frames.items[s.number].split for s in said]
    assert [k for k, s in enumerate(split) if s == "test"] == [9, 19, 29, 39]
    assert {k % 20 for k, s in enumerate(split) if s == "validation" and not said[k].repeat} == {
        2, 7, 12, 17,
    }  # fmt: skip
    held_out = [s for s, of in zip(said, split, strict=True) if of != "train"]
    assert all(s.blind and s.chosen == "random" for s in held_out)
    assert [k for k, s in enumerate(said) if s.repeat] == [14, 34]
    teaching = Counter(frames.items[k].group for k, a in answers.items() if a.chosen == "spread")
    assert max(teaching.values()) - min(teaching.values()) <= 1


def test_without_a_model_the_next_frame_is_unlike_the_labelled_ones(frames):
    first = suggest(frames, {}, {})
    bright = [frames.items[k].look[-7] for k in range(len(frames))]
    middle = abs(frames.items[first.number].look[-7] - np.mean(bright))
    second = suggest(frames, {first.number: Answer(1)}, {}, shown=[first.number])
    assert abs(frames.items[second.number].look[-7] - np.mean(bright)) > middle


def test_a_model_asks_for_what_it_knows_least(frames):
    teaching = [k for k, item in enumerate(frames.items) if item.split == "train"]
    predicted = {k: Predicted(3.0, 2.0, 4.0) for k in range(len(frames))}
    flagged, wide, jumping = teaching[5], teaching[17], teaching[33]
    predicted[flagged] = Predicted(3.0, 2.0, 4.0, "unlike the training images")
    assert suggest(frames, {}, predicted).number == flagged
    assert "Flagged" in suggest(frames, {}, predicted).why
    answers = {flagged: Answer(3)}
    predicted[wide] = Predicted(3.0, 0.0, 9.0)
    assert suggest(frames, answers, predicted).number == wide
    answers[wide] = Answer(3)
    predicted[jumping] = Predicted(30.0, 29.0, 31.0)
    found = suggest(frames, answers, predicted, turn=3)
    assert (found.number, found.why) == (jumping, "Its count jumps in its series.")


def test_a_model_never_asks_for_one_chamber_again_and_again(frames):
    predicted = {k: Predicted(3.0, 2.0, 4.0) for k in range(len(frames))}
    bad = next(item.group for item in frames.items if item.split == "train")
    for k, item in enumerate(frames.items):
        if item.group == bad:
            predicted[k] = Predicted(50.0, 0.0, 99.0, "unlike the training images")
    _, said = label(frames, 20, predicted)
    groups = [frames.items[s.number].group for s in said]
    assert all(a != b for a, b in zip(groups, groups[1:], strict=False) if a == bad)
    assert groups.count(bad) >= 3


def test_a_model_never_chooses_a_frame_that_is_held_out(frames):
    predicted = {k: Predicted(3.0, 2.0, 4.0, "odd") for k in range(len(frames))}
    _, said = label(frames, 60, predicted)
    for found in said:
        assert found.chosen == "random" or frames.items[found.number].split == "train"


def test_everything_is_shown_once(frames):
    answers, said = label(frames, 230)
    assert len(answers) == len(frames)
    assert said[-1].number is None or said[-1].repeat


def test_the_error_is_that_of_random_images_alone(frames):
    held_out = [k for k, item in enumerate(frames.items) if item.split == "validation"]
    groups = sorted({frames.items[k].group for k in held_out})
    predicted = {k: Predicted(2.0) for k in range(len(frames))}
    answers = {k: Answer(5, chosen="random") for k in held_out}
    answers |= {k: Answer(50, chosen="person") for k in range(len(frames)) if k not in held_out}
    found = random_error(frames, answers, predicted)
    assert found["images"] == len(held_out)
    assert len(groups) == 5 and found["mae"] == 3.0
    few = {k: answer for k, answer in answers.items() if frames.items[k].group != groups[0]}
    said = random_error(frames, few, predicted)
    assert said["mae"] is None and "at least 5 groups" in said["sentence"]
    answers[held_out[0]] = Answer(2, chosen="random", assisted=True)
    assert random_error(frames, answers, predicted)["images"] == len(held_out) - 1


def test_the_error_has_an_interval_over_groups(tmp_path):
    frames = catalogue_of(write_images(tmp_path, groups=40, each=1))
    held_out = [k for k, item in enumerate(frames.items) if item.split == "validation"]
    answers = {k: Answer(k % 3, chosen="random") for k in held_out}
    found = random_error(frames, answers, {k: Predicted(1.0) for k in range(len(frames))})
    assert len(held_out) >= 5
    assert found["mae"] == np.mean([abs(k % 3 - 1) for k in held_out])
    assert found["low"] < found["mae"] < found["high"]
    assert f"on {len(held_out)} random images" in found["sentence"]


@pytest.mark.parametrize(("groups", "held_out"), [(12, 2), (13, 5), (20, 5), (40, 6)])
def test_five_groups_are_held_out_where_enough_others_teach(tmp_path, groups, held_out):
    frames = catalogue_of(write_images(tmp_path, groups=groups, each=1))
    splits = Counter(item.split for item in frames.items)
    assert splits["validation"] == held_out and splits["train"] >= splits["validation"]
    answers = {
        k: Answer(1, chosen="random")
        for k, item in enumerate(frames.items)
        if item.split == "validation"
    }
    said = random_error(frames, answers, {k: Predicted(1.0) for k in range(groups)})["sentence"]
    assert ("Only 2 of 12 groups are for validation" in said) == (groups == 12)


def test_a_test_image_is_not_called_one_that_the_page_counts(frames):
    _, said = label(frames, 10)
    assert "this page never counts it" in said[9].why and "how far off" in said[2].why


def test_the_persons_own_error():
    assert own_error([]) == ""
    assert own_error([(3, 5), (2, 2)]) == (
        "Your own counts differ by 1.00 on 2 images that you counted twice."
    )
