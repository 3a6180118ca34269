import csv
import time

import cv2
import numpy as np
import pytest
from label_frames import write_images

from cellzoo.errors import UsageError, UserError
from cellzoo.files import lock
from cellzoo.labelling.answers import Answer
from cellzoo.labelling.next import Predicted
from cellzoo.labelling.page.server import page, serve
from cellzoo.labelling.page.session import Chosen, Session

ADDRESS = "http://127.0.0.1:5000"
ANSWER = {"count": 3, "points": None, "unsure": False, "assisted": False, "chosen": "spread"}


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Session(Chosen([write_images(tmp_path / "images")], group="well[0-9]"))


@pytest.fixture
def client(session):
    client = page(session, "secret", 5000).test_client()
    client.get("/?token=secret", base_url=ADDRESS)
    return client


def get(client, path, **options):
    return client.get(path, base_url=ADDRESS, **options)


def post(client, path, content, origin=ADDRESS):
    return client.post(path, json=content, base_url=ADDRESS, headers={"Origin": origin})


def test_only_who_has_the_token_sees_anything(session):
    client = page(session, "secret", 5000).test_client()
    for path in ("/", "/api/state", "/static/label.js", "/?token=wrong"):
        assert get(client, path).status_code == 403
    first = get(client, "/?token=secret")
    assert first.status_code == 302 and first.headers["Location"] == "/"
    assert "HttpOnly" in first.headers["Set-Cookie"]
    assert "SameSite=Strict" in first.headers["Set-Cookie"]
    assert get(client, "/").status_code == 200


def test_a_name_that_leads_here_is_refused(client):
    answer = client.get("/api/state?token=secret", base_url="http://evil.example:5000")
    assert answer.status_code == 403
    answer = client.get("/?token=secret", base_url="http://127.0.0.1:5001")
    assert answer.status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:5001", "null", ""])
def test_only_the_page_itself_changes_labels(client, session, origin):
    assert post(client, "/api/answer/0", ANSWER, origin).status_code == 403
    assert not session.answers.labels_file.exists()


def test_nothing_is_loaded_from_elsewhere(client):
    answer = get(client, "/")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "//" not in answer.text
    for name in ("draw.js", "label.js", "keys.js", "label.css"):
        assert "https://" not in get(client, f"/static/{name}").text


def test_no_file_beside_the_page_is_given_out(client):
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static/nothing.js"):
        assert get(client, path).status_code == 404


def test_an_answer_is_on_the_disk_when_it_is_acknowledged(client, session):
    frame = get(client, "/api/frame/2").json
    assert (frame["name"], frame["answer"]["count"]) == ("well0_t2.png", None)
    assert (frame["before"], frame["after"], frame["place"]) == (1, 3, [3, 4])
    sent = ANSWER | {"points": [[1, 2], [3, 4]], "token": frame["token"]}
    assert post(client, "/api/answer/2", sent).status_code == 200
    rows = list(csv.DictReader(session.answers.labels_file.open()))
    assert [row["count"] for row in rows if row["image"] == "well0_t2.png"] == ["2"]
    assert get(client, "/api/frame/2").json["answer"]["points"] == [[1, 2], [3, 4]]
    again = post(client, "/api/answer/2", ANSWER | {"token": frame["token"]})
    assert again.status_code == 409
    assert "answered meanwhile" in again.json["error"]
    assert get(client, "/api/state").json["labelled"] == 1


def test_what_cannot_be_used_is_said_in_a_sentence(client):
    assert "no answer" in post(client, "/api/answer/0", {"count": "x"}).json["error"]
    assert "no such image" in post(client, "/api/answer/999", ANSWER).json["error"]
    assert "no answer" in post(client, "/api/draft/0", {"points": [[1]]}).json["error"]
    assert "needs 5 labels" in post(client, "/api/train", {"budget": "5m"}).json["error"]
    assert "not a duration" in post(client, "/api/train", {"budget": "soon"}).json["error"]


def test_the_next_frame_is_shown_with_why(client):
    said = get(client, "/api/next").json
    assert said["why"] == "A usual one to begin with."
    assert said["frame"]["answer"]["count"] is None


def test_pixels_come_as_they_are_stored(client, session):
    answer = get(client, "/api/pixels/7")
    stored = session.frames.read(7).pixels
    assert np.array_equal(np.frombuffer(answer.data, "<u2").reshape(32, 32), stored)
    assert answer.headers["X-Width"] == "32"
    assert int(answer.headers["X-Low"]) < int(answer.headers["X-High"])


def test_an_empty_image_is_not_stretched_to_its_noise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    draw = np.random.default_rng(1)
    for k in range(5):
        pixels = draw.normal(500, 5, (48, 48))
        if k:
            pixels[8:24, 8:24] = 2000
        cv2.imwrite(f"images/well{k}.png", pixels.astype(np.uint16))
    session = Session(Chosen([tmp_path / "images"]))
    spans = []
    for k in range(5):
        _, headers = session.pixels(k)
        spans.append(int(headers["X-High"]) - int(headers["X-Low"]))
        assert int(headers["X-Low"]) < 500 < int(headers["X-High"])
    assert min(spans) > 1000


def test_held_out_frames_never_show_the_models_count(session):
    session.predictions.predicted = {k: Predicted(4.4, 3, 6) for k in range(len(session.frames))}
    session.predictions.rings = {k: [(1.0, 2.0)] for k in range(len(session.frames))}
    for number, item in enumerate(session.frames.items):
        said = session.describe(number)
        assert said["blind"] == (item.split != "train")
        assert (said["model"] is None) == said["blind"]
        assert session.describe(number, repeat=True)["model"] is None
    teaching = next(k for k, item in enumerate(session.frames.items) if item.split == "train")
    assert session.describe(teaching)["model"]["count"] == 4


def test_a_second_answer_changes_no_label(client, session):
    post(client, "/api/answer/0", ANSWER | {"token": get(client, "/api/frame/0").json["token"]})
    post(client, "/api/answer/0", ANSWER | {"count": 5, "repeat": True, "token": ""})
    post(client, "/api/answer/0", ANSWER | {"count": None, "unsure": True, "repeat": True})
    assert session.answers.of(0).count == 3 and not session.answers.of(0).unsure
    assert session.answers.repeats() == [(3, 5)]
    assert "differ by 2.00" in get(client, "/api/state").json["own"]


def test_a_table_of_counts_brings_its_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_images(tmp_path / "images")
    lines = ["image,frame,count,count_raw,count_low,count_high,model,version,flag,series,time"]
    for path in sorted(folder.iterdir()):
        series = path.name[:5]
        lines.append(f"images/{path.name},0,3,3.2,2.5,4.5,mine,1,,{series},0.5")
    (tmp_path / "counts.csv").write_text("\n".join(lines) + "\n")
    session = Session(Chosen([tmp_path / "counts.csv"]))
    held_out = [item.split == "test" for item in session.frames.items]
    assert len(session.predictions.predicted) == len(session.frames) - sum(held_out)
    assert session.predictions.predicted[0 if not held_out[0] else 4] == Predicted(3.2, 2.5, 4.5)
    assert session.frames.items[0].group.endswith("well0")
    assert session.answers.folder.resolve() == folder.resolve()


def test_labels_of_images_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "images")
    (tmp_path / "mine").mkdir()
    session = Session(Chosen([tmp_path / "images"], out=tmp_path / "mine"))
    session.answers.save(0, session.answers.of(0))
    first = next(csv.DictReader((tmp_path / "mine" / "labels.csv").open()))
    assert first["image"] == "../images/well0_t0.png"


def test_a_second_page_on_one_folder_is_refused(session):
    from cellzoo.files import lock

    with lock(session.answers.folder, "is kept by a test"):
        with pytest.raises(UserError, match="is being labelled in another page"):
            serve(session, browser=False)


def test_a_training_is_planned_from_what_there_is(session):
    with pytest.raises(UsageError, match="there are 0 and 0"):
        session.train("5m")
    from cellzoo.labelling.answers import Answer

    for number in range(len(session.frames)):
        session.answers.save(number, Answer(3))
    assert session.training.missing() == ""
    command = session.training.plan.command(
        session.answers, {"channel": 0}, "5m", session.answers.folder / "run"
    )
    words = dict(word.split("=", 1) for word in command if "=" in word)
    assert words["train.select"] == '"last"'
    assert words["train.start_from"] == "null"
    assert '"channel": 0' in words["data.natural"] and '"labelled": null' in words["data.natural"]


def test_images_without_groups_are_named(tmp_path, monkeypatch, session):
    assert session.state()["note"] == ""
    folder = write_images(tmp_path / "others", groups=3)
    for path in sorted(folder.iterdir()):
        path.rename(path.with_name(path.name.replace("_t", "-")))  # a series that no name says
    assert "--group" in Session(Chosen([folder])).state()["note"]


def test_groups_too_few_to_hold_any_out_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = Session(Chosen([write_images(tmp_path / "images", groups=1)]))
    assert "--group" in session.training.missing()


def test_the_next_start_goes_on_with_the_last_training(session, monkeypatch):
    from cellzoo.labelling.page import session as module
    from cellzoo.recipe import load_recipe
    from cellzoo.runs import Run

    folder = session.answers.folder
    for name, of in (("20260101", folder), ("20260102", folder), ("20260103", folder.parent)):
        words = [f"data.natural.folder={of}"]
        run = Run.create(session.training.plan.out / name, load_recipe("twindensity_ldc", words))
        if name != "20260101":
            run.validation_file.write_text("{}")
    begun = []
    monkeypatch.setattr(module.Predictions, "begin", lambda self, model: begun.append(model))
    again = Session(Chosen([folder], group="well[0-9]"))
    assert begun == [str(session.training.plan.out / "20260102")]
    assert again.training.plan.start == begun[0]


def test_a_run_shows_the_images_that_it_learned_from(session, monkeypatch):
    from cellzoo.labelling.page import session as module
    from cellzoo.recipe import load_recipe
    from cellzoo.runs import Run

    folder = session.answers.folder
    words = [f"data.natural.folder={folder}"]
    run = Run.create(folder.parent / "run", load_recipe("twindensity_ldc", words))
    splits = ["test", "validation", "train", "train", "validation", "test"]
    lines = [f"well{k}_t0.png,well{k},{split},1,2,0.5" for k, split in enumerate(splits)]
    run.splits_file.write_text("\n".join(["image,group,split,labelled,count,mean", *lines]))
    begun = []
    monkeypatch.setattr(module.Predictions, "begin", lambda self, model: begun.append(model))
    again = Session(Chosen([run.path], group="well[0-9]"))
    assert begun == [str(run.path)] == [again.training.plan.start]
    assert [again.frames.items[4 * k].split for k in range(6)] == splits
    run.replace_recipe(load_recipe("twindensity_ldc", ["data.natural.folder=nowhere"]))
    with pytest.raises(UserError, match="which is not here: name the images"):
        Session(Chosen([run.path]))
    run.replace_recipe(load_recipe("twindensity_bf"))
    with pytest.raises(UserError, match="in no folder"):
        Session(Chosen([run.path]))


def test_a_training_that_a_killed_page_left_is_not_joined_by_another(session, monkeypatch):
    for k in range(4):
        session.answers.save(k, Answer(count=1))
    monkeypatch.setattr(type(session.training), "missing", lambda self: "")
    monkeypatch.setattr(type(session.training.plan), "command", lambda *args: ["true"])
    earlier = session.training.plan.out / "20260101-101500"
    earlier.mkdir(parents=True)
    with (
        lock(earlier, "is locked"),
        pytest.raises(UsageError, match=r"an earlier page began is under way in .*101500: wait"),
    ):
        session.training.begin("5m")
    session.training.begin("5m")
    assert session.training.wait() == 0


def test_a_training_that_fails_says_why(session, monkeypatch):
    from cellzoo.labelling.answers import Answer

    for number in range(len(session.frames)):
        session.answers.save(number, Answer(3))
    failing = ["python3", "-c", "print('Error: the disk is full'); raise SystemExit(1)"]
    monkeypatch.setattr(type(session.training.plan), "command", lambda *args: failing)
    session.train("5m")
    while session.training.running or not session.training.message:
        time.sleep(0.01)
    assert session.training.message == "The training failed. Error: the disk is full"
