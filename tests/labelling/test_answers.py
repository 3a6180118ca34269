import csv

import numpy as np
import pytest
import tifffile
from label_frames import catalogue_of, write_images

from cellzoo.data.folder import load_folder
from cellzoo.errors import UserError
from cellzoo.labelling.answers import Answer, Answers, SeenAnother


def rows(file):
    return list(csv.DictReader(file.open(encoding="utf-8")))


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path / "images")


def test_an_answer_is_a_label_that_fit_reads(folder):
    answers = Answers(folder, catalogue_of(folder))
    answers.save(3, Answer(2, ((1.0, 2.0), (3.456, 30.0)), chosen="spread"))
    answers.save(5, Answer(0))
    loaded, _ = load_folder(folder, 32, points="points.csv")
    assert {n: c for n, c in zip(loaded.names, loaded.counts, strict=True) if c == c} == {
        "well0_t3.png": 2,
        "well1_t1.png": 0,
    }
    assert loaded.points[3].tolist() == [[1.0, 2.0], [pytest.approx(3.46), 30.0]]
    assert set(loaded.splits) == {"train", "validation", "test"}
    assert len(set(loaded.groups)) == 6  # frames of a well stay together
    again = Answers(folder, catalogue_of(folder))
    assert again.of(3) == Answer(2, ((1.0, 2.0), (3.46, 30.0)), chosen="spread")
    assert again.of(5) == Answer(0)
    assert not again.of(4).given


def test_rows_columns_and_classes_of_others_stay(folder):
    (folder / "labels.csv").write_text(
        "image;count;Note;group\nwell1_t2;7;a look;mine\nwell0_t0.png;;;\n"
    )
    places = "image,x,y,class\nwell0_t1.png,1,2,round\nwell0_t1.png,5,6,\n"
    (folder / "points.csv").write_text(places)
    answers = Answers(folder, catalogue_of(folder))
    answers.save(0, Answer(3))
    answers.save(1, Answer(2, ((1.0, 2.0), (8.0, 8.0))))
    lines = (folder / "labels.csv").read_text().splitlines()
    assert lines[0].startswith("image;count;Note;group")
    assert lines[1].startswith("well1_t2;7;a look;mine;")  # spelled without its suffix
    assert sum("well1_t2" in line for line in lines) == 1
    assert rows(folder / "points.csv") == [
        {"image": "well0_t1.png", "x": "1", "y": "2", "class": "round"},
        {"image": "well0_t1.png", "x": "8", "y": "8", "class": ""},
    ]


def test_what_another_program_wrote_meanwhile_stays(folder):
    answers = Answers(folder, catalogue_of(folder))
    answers.save(0, Answer(3))
    text = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(text.replace("well0_t1.png,,", "well0_t1.png,9,"))
    answers.save(2, Answer(1))
    assert [answers.of(k).count for k in range(3)] == [3, 9, 1]


def test_a_count_that_is_none_is_said_with_its_line(folder):
    answers = Answers(folder, catalogue_of(folder))
    answers.save(0, Answer(3))
    text = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(text.replace("well0_t1.png,,", "well0_t1.png,3?,"))
    with pytest.raises(UserError, match=r"labels.csv: line 3: the count '3\?' is not a number: "):
        answers.all()
    assert "3?" in (folder / "labels.csv").read_text()


def test_names_that_would_be_formulas_are_none_and_their_files_are_found(folder):
    for k, name in enumerate(("=1+1.png", "+2.png", "-3.png", "@4.png")):
        (folder / f"well{k}_t0.png").rename(folder / name)
    frames = catalogue_of(folder)
    number = {item.name: k for k, item in enumerate(frames.items)}
    answers = Answers(folder, frames)
    answers.save(number["=1+1.png"], Answer(2, ((1.0, 2.0), (3.0, 4.0))))
    answers.save(number["@4.png"], Answer(5))
    answers.save_repeat(number["@4.png"], 6)
    for file in ("labels.csv", "points.csv", "repeats.csv"):
        cells = [cell for row in csv.reader((folder / file).open()) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
        assert {"./=1+1.png", "./@4.png"} & set(cells)
    again = catalogue_of(folder)
    assert [(i.name, i.group, i.split) for i in again.items] == [
        (i.name, i.group, i.split) for i in frames.items
    ]  # fmt: skip
    answers = Answers(folder, again)
    assert answers.of(number["=1+1.png"]) == Answer(2, ((1.0, 2.0), (3.0, 4.0)))
    assert answers.of(number["@4.png"]).count == 5
    assert answers.repeated() == {"@4.png"}
    loaded, _ = load_folder(folder, 32, points="points.csv")
    counts = dict(zip(loaded.names, loaded.counts, strict=True))
    assert (counts["=1+1.png"], counts["@4.png"]) == (2, 5)
    assert dict(zip(loaded.names, loaded.groups, strict=True))["@4.png"] == "@4.png"


def test_who_has_seen_another_answer_replaces_nothing(folder):
    answers = Answers(folder, catalogue_of(folder))
    seen = answers.of(0).token
    answers.save(0, Answer(3), seen)
    answers.save(0, Answer(3), seen)  # sent again, as the page does without a reply
    with pytest.raises(SeenAnother, match="well0_t0.png was answered meanwhile"):
        answers.save(0, Answer(4), seen)
    assert answers.of(0).count == 3


def test_an_answer_can_be_taken_back(folder):
    answers = Answers(folder, catalogue_of(folder))
    answers.save(0, Answer(1, ((1.0, 1.0),), unsure=True, assisted=True, chosen="model"))
    answers.save(0, Answer())
    assert answers.of(0) == Answer()
    assert rows(folder / "points.csv") == []


def test_a_kill_between_the_two_tables_leaves_the_dots(folder):
    answers = Answers(folder, catalogue_of(folder))
    answers.save(0, Answer(3))
    answers._write_points(0, Answer(1, ((1.0, 1.0),)))
    assert Answers(folder, catalogue_of(folder)).of(0) == Answer(3)  # as fit takes it


def test_drafts_survive(folder):
    Answers(folder, catalogue_of(folder)).keep_draft(2, [[1, 2]])
    answers = Answers(folder, catalogue_of(folder))
    assert answers.draft(2) == [[1, 2]]
    answers.save(2, Answer(1, ((1.0, 2.0),)))
    assert Answers(folder, catalogue_of(folder)).draft(2) is None


def test_second_answers_are_kept_apart(folder):
    answers = Answers(folder, catalogue_of(folder))
    answers.save(0, Answer(3))
    answers.save_repeat(0, 5)
    assert answers.of(0).count == 3
    assert answers.repeats() == [(3, 5)]
    assert answers.repeated() == {"well0_t0.png"}


def test_frames_of_a_stack_have_labels_of_their_own(tmp_path):
    pixels = [[[k] * 16] * 16 for k in range(5)]
    tifffile.imwrite(tmp_path / "s.tif", np.uint8(pixels), metadata={"axes": "TYX"})
    frames = catalogue_of(tmp_path)
    assert frames.beside(0) == (None, 1)
    assert frames.read(3).pixels.max() == 3
    Answers(tmp_path, frames).save(3, Answer(4))
    loaded, _ = load_folder(tmp_path, 16)
    assert loaded.counts[3] == 4 and np.isnan(loaded.counts[2])


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"count": -1, "points": None, "unsure": False, "assisted": False, "chosen": ""},
        {"count": 1.5, "points": None, "unsure": False, "assisted": False, "chosen": ""},
        {"count": 1, "points": [[1, float("nan")]], "unsure": 0, "assisted": 0, "chosen": ""},
        {"count": 1, "points": None, "unsure": False, "assisted": False, "chosen": "=1+1"},
        [1],
    ],
)
def test_what_is_no_answer_is_refused(said):
    with pytest.raises(UserError, match="no answer"):
        Answer.parsed(said)
