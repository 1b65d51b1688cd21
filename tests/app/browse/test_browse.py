"""Browse runs: reading captions, aligning them in the background, finding them again."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import time
from pathlib import Path

import pytest
import torch

from app.browse.job import BrowseJob, readable_runs, run_of
from app.browse.records import About, Counts, Filter
from app.browse.store import BrowseRun
from app.ui.shared.cards import cards
from detclipv2.datasets.captions import Captioned, find_captions
from detclipv2.inference.alignment import Alignment, AlignSettings
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2
from tests.places import DEMO

ABOUT = About("data", "tiny", "0" * 64, {})


def alignment(caption: str, phrases: dict[str, float]) -> Alignment:
    """An alignment whose phrases have the given evidence."""
    count = len(phrases)
    return Alignment(
        caption,
        tuple(phrases),
        (None,) * count,
        torch.tensor([[1.0, 2.0, 30.0, 40.0]]),
        torch.tensor([3]),
        torch.tensor([list(phrases.values())]),
        torch.zeros(3),
        0.0,
        AlignSettings(),
        (60, 50),
    )


@pytest.fixture
def run(tmp_path: Path) -> BrowseRun:
    found = BrowseRun.make(tmp_path / "run")
    captions = ["a dog on a mat", "two cats", "a dog and 100% wool", "nothing"]
    found.begin(
        (Captioned(f"{i}.jpg", DEMO / "coffee.jpg", c) for i, c in enumerate(captions)), ABOUT
    )
    found.write(1, alignment(captions[0], {"a dog": 2.0, "a mat": -1.0}))
    found.write(2, alignment(captions[1], {"two cats": 3.0}))
    found.write(3, alignment(captions[2], {"The Dog": 0.2, "100% wool": 0.4}))
    found.write_state(4, "empty", "the caption names nothing")
    return found


def names(run: BrowseRun, chosen: Filter, order: str = "worst") -> list[str]:
    rows, total = run.find(chosen, order)  # type: ignore[arg-type]
    assert total == len(rows)
    return [row.photo.name for row in rows]


def test_photos_are_found_by_phrase_score_and_missing_regions(run: BrowseRun) -> None:
    assert names(run, Filter()) == ["2.jpg", "0.jpg", "1.jpg"]
    assert names(run, Filter(), "best") == ["1.jpg", "0.jpg", "2.jpg"]
    assert names(run, Filter(), "data set") == ["0.jpg", "1.jpg", "2.jpg"]
    assert names(run, Filter(phrase="dog")) == ["2.jpg", "0.jpg"]
    assert names(run, Filter(phrase="A DOG")) == ["2.jpg", "0.jpg"]
    assert names(run, Filter(phrase="100%")) == ["2.jpg"]
    assert names(run, Filter(phrase="0_w")) == []
    assert names(run, Filter(most=0.4)) == ["2.jpg"]
    assert names(run, Filter(missing=True)) == ["0.jpg"]
    assert names(run, Filter(missing=True, least=0.3)) == ["2.jpg", "0.jpg"]
    assert names(run, Filter(phrase="dog", missing=True, least=0.3)) == ["2.jpg"]
    assert run.counts() == Counts(pending=0, done=3, empty=1, failed=0)


def test_the_vocabulary_counts_captions(run: BrowseRun) -> None:
    assert run.vocabulary(0.3) == [
        ("dog", 2, 0.5, pytest.approx(1.1)),
        ("100% wool", 1, 0.0, pytest.approx(0.4)),
        ("mat", 1, 1.0, pytest.approx(-1.0)),
        ("two cats", 1, 0.0, pytest.approx(3.0)),
    ]


def test_ten_thousand_photos_page_quickly(tmp_path: Path) -> None:
    run = BrowseRun.make(tmp_path / "run")
    run.begin((Captioned(f"{i}", DEMO, f"dog {i}") for i in range(10_000)), ABOUT)
    with run._open() as db:
        db.execute("UPDATE photos SET state = 'done', evidence = (id * 7919) % 1000 / 100.0")
        db.executemany(
            "INSERT INTO phrases VALUES (?, 0, 'a dog', ?, NULL, NULL, ?, 0, 0, 0, 1, 1)",
            ((i, f"dog {i % 50}", i % 7 - 3) for i in range(1, 10_001)),
        )
    began = time.perf_counter()
    rows, total = run.find(Filter(phrase="dog 7", missing=True), offset=60, limit=12)
    assert (len(rows), total) == (12, 87)
    assert run.find(Filter(), "worst", offset=9_990)[1] == 10_000
    assert len(run.vocabulary(0.0)) == 50
    assert time.perf_counter() - began < 1


def test_every_form_of_captions_is_read(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("coffee.jpg", "rocket.jpg"):
        shutil.copy(DEMO / name, images / name)
    expected = [("coffee.jpg", "a cup"), ("rocket.jpg", "a rocket, rising")]
    coco = {
        "images": [{"id": 1, "file_name": "coffee.jpg"}, {"id": 2, "file_name": "rocket.jpg"}],
        "annotations": [
            {"image_id": 1, "caption": "a cup"},
            {"image_id": 2, "caption": "a  rocket, rising"},
        ],
    }
    (tmp_path / "c.json").write_text(json.dumps(coco))
    (tmp_path / "c.tsv").write_text(
        "coffee.jpg\ta cup\na rocket, rising\trocket.jpg\nlost.jpg\tx\n"
    )
    (tmp_path / "k.txt").write_text("coffee.jpg#0\ta cup\nrocket.jpg#1\ta rocket, rising\n")
    (tmp_path / "k.csv").write_text(
        'image,caption\ncoffee.jpg,a cup\nrocket.jpg,"a rocket, rising"\n'
    )
    left: list[str] = []
    for name in ("c.json", "c.tsv", "k.txt", "k.csv"):
        found = list(find_captions(tmp_path / name, lambda why, _: left.append(why)))
        assert [(c.name, c.caption) for c in found] == expected
        assert all(c.file.is_file() for c in found)
    assert left == ["a photo that is not in the folder", "a line without caption and picture"]

    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for key, text in expected:
            for kind, content in (
                ("jpg", (DEMO / key).read_bytes()),
                ("json", json.dumps({"caption": text}).encode()),
            ):
                member = tarfile.TarInfo(f"{Path(key).stem}.{kind}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    (found := list(find_captions(tmp_path / "0.tar", lambda *_: None)))
    assert [c.caption for c in found] == [text for _, text in expected]
    assert found[1].read() == (DEMO / "rocket.jpg").read_bytes()

    beside = tmp_path / "beside"
    beside.mkdir()
    shutil.copy(DEMO / "coffee.jpg", beside)
    with pytest.raises(ValueError, match="has no captions; looked for"):
        list(find_captions(beside, lambda *_: None))
    (beside / "coffee.txt").write_text("a cup\n")
    assert [c.caption for c in find_captions(beside, lambda *_: None)] == ["a cup"]


def test_a_job_aligns_stops_and_goes_on(tiny_model: DetCLIPv2, tmp_path: Path) -> None:
    predictor = Predictor(tiny_model, device="cpu", cache_dir=tmp_path / "cache")
    data = tmp_path / "data"
    data.mkdir()
    for name, text in (
        ("coffee", "a red cup on the table"),
        ("rocket", "a rocket"),
        ("chelsea", "wow"),
    ):
        shutil.copy(DEMO / f"{name}.jpg", data)
        (data / f"{name}.txt").write_text(text)
    (data / "torn.jpg").write_bytes(b"\xff\xd8 torn")
    (data / "torn.txt").write_text("a torn picture")
    run = run_of(data, predictor.fingerprint, tmp_path / "runs")
    stopped = BrowseJob(run, data, predictor, "tiny")
    stopped.cancel()
    stopped.start()
    stopped.join(60)
    assert run.counts().pending == 4

    job = BrowseJob(run_of(data, predictor.fingerprint, tmp_path / "runs"), data, predictor, "tiny")
    job.start()
    job.join(60)
    assert job.error == ""
    assert run.counts() == Counts(pending=0, done=2, empty=1, failed=1)
    rows, _ = run.find(Filter(phrase="cup"))
    library = predictor.align(DEMO / "coffee.jpg", "a red cup on the table")
    assert [p.text for p in rows[0].phrases] == list(library.phrases)
    assert [p.evidence for p in rows[0].phrases] == pytest.approx(library.evidence.tolist())
    assert [known.folder for known in readable_runs(tmp_path / "runs")] == [run.folder]
    passes = predictor.image_passes
    again = BrowseJob(run, data, predictor, "tiny")
    again.start()
    again.join(60)
    assert predictor.image_passes == passes, "nothing is done twice"


def test_captions_and_names_are_escaped(run: BrowseRun) -> None:
    run.write(1, alignment("x", {"<script>alert(1)</script>": 1.0}))
    with run._open() as db:
        db.execute("UPDATE photos SET caption = '<img src=x onerror=1>', name = '\"><b>'")
    drawn = cards(run.find(Filter())[0], 0.0)
    assert "<script" not in drawn and "<img" not in drawn and "<b>" not in drawn
