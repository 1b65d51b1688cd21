"""Packing: what goes in comes out, a stopped run goes on, and nothing is left out silently."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.places import REPO
from tests.train.conftest import draw_set
from train import pack
from train.data.readers.coco import read_coco
from train.data.sample import Sample, pair
from train.data.shards.encode import encode
from train.data.shards.reader import Shards
from train.pack import Settings


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    """`captions.json` of ten photos, of which one is broken and one is missing."""
    folder = tmp_path / "captioned"
    (folder / "images").mkdir(parents=True)
    images, rows = [], []
    for i in range(10):
        name = f"{i}.jpg"
        if i == 3:
            (folder / "images" / name).write_bytes(b"no picture")
        elif i != 7:
            Image.new("RGB", (40 + i, 30), (i, 9, 9)).save(folder / "images" / name)
        images.append({"id": i, "file_name": name})
        rows.append({"image_id": i, "caption": f"a dog on the {'roof' if i % 2 else 'lake'}"})
    path = folder / "captions.json"
    path.write_text(json.dumps({"images": images, "annotations": [*rows, {"image_id": 99}]}))
    return path


def test_boxes_come_back_exactly(drawn_set: Path, tmp_path: Path) -> None:
    report = pack.pack(Settings("coco", (str(drawn_set),), per_shard=5), tmp_path)
    assert report["kept"] == 12 and report["shards"] == 3 and not report["dropped"]
    before, after = read_coco(drawn_set), Shards(tmp_path)
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one.boxes, other.boxes) and np.array_equal(one.labels, other.labels)
        assert one.concepts == other.concepts and one.exhaustive == other.exhaustive
        assert other.image == Path(one.name).read_bytes()  # not encoded anew


@pytest.mark.parametrize("workers", [1, 2])
def test_captions_get_phrases_and_bad_photos_are_reported(
    captions: Path, tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "shards"
    report = pack.pack(Settings("captions", (str(captions),), per_shard=4), out, workers=workers)
    assert report == json.loads((out / "report.json").read_text())
    assert report["kept"] == 8 and report["shards"] == 3
    counts = {reason: part["count"] for reason, part in report["dropped"].items()}
    assert counts == {
        "a photo that cannot be decoded": 1,
        "a photo that cannot be read": 1,
        "a caption without text or image": 1,
    }
    assert "3.jpg" in str(report["dropped"]["a photo that cannot be decoded"]["examples"])
    shards = Shards(out)
    assert shards.counts == (3, 3, 2) and not len(shards.dropped)
    assert [(s.concepts, s.width) for s in shards][:2] == [
        (("dog", "lake"), 40),
        (("dog", "roof"), 41),
    ]


def test_shards_can_be_packed_again(captions: Path, tmp_path: Path) -> None:
    pack.pack(Settings("captions", (str(captions),), per_shard=4), tmp_path / "a")
    again = Settings("shards", (str(tmp_path / "a"),), max_side=20)
    assert pack.pack(again, tmp_path / "b")["kept"] == 8
    small, large = Shards(tmp_path / "b"), Shards(tmp_path / "a")
    assert [s.caption for s in small] == [s.caption for s in large]
    assert small.sizes.max() == 20 and small.sizes[0].tolist() == [20, 15]


def test_finished_shards_are_left_alone(
    captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, out = Settings("captions", (str(captions),), per_shard=4), tmp_path / "shards"
    original, made = pack.pack_shard, []

    def stop_after_one(out: Path, number: int, *rest: object) -> None:
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(number)
        original(out, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(pack, "pack_shard", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        pack.pack(settings, out)
    first = (out / "000000.tar").stat().st_mtime_ns
    (out / "000001.tar").write_bytes(b"a tar whose report was not written")
    made.clear()
    monkeypatch.setattr(pack, "pack_shard", lambda *a: (made.append(a[1]), original(*a)))
    report = pack.pack(settings, out)
    assert made == [1, 2] and (out / "000000.tar").stat().st_mtime_ns == first
    # As complete as if it had not been stopped.
    assert report == pack.pack(settings, tmp_path / "other")
    for name in ("000000.tar", "000001.tar", "000002.tar"):
        assert (out / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_another_set_or_other_settings_need_another_folder(captions: Path, tmp_path: Path) -> None:
    out, source = tmp_path / "shards", (str(captions),)
    pack.pack(Settings("captions", source, per_shard=5), out)
    with pytest.raises(ValueError, match="choose another folder"):
        pack.pack(Settings("captions", source, per_shard=6), out)
    value = json.loads(captions.read_text())
    value["annotations"] = value["annotations"][:5]
    captions.write_text(json.dumps(value))
    with pytest.raises(ValueError, match="more shards than the source"):
        pack.pack(Settings("captions", source, per_shard=5), out)
    value["annotations"][0]["caption"] = "something else"
    captions.write_text(json.dumps(value))
    with pytest.raises(ValueError, match="made of other samples"):
        pack.pack(Settings("captions", source, per_shard=5), out)


def test_a_killed_run_leaves_no_half_shard(tmp_path: Path) -> None:
    source = draw_set(tmp_path / "drawn", count=300)
    out = tmp_path / "shards"
    command = [
        sys.executable,
        "-m",
        "train.pack",
        "coco",
        str(source),
        "--out",
        str(out),
        "--per-shard",
        "10",
    ]
    process = subprocess.Popen(
        command, cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (out / "000002.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = sorted(out.glob("*.tar"))
    assert finished and not len(Shards(finished).dropped)
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["kept"] == 300
    assert len(Shards(out)) == 300 and not list(out.glob("*.partial"))


def _jpeg(width: int, height: int, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def test_boxes_follow_a_photo_that_is_scaled_down() -> None:
    boxes = np.array([[10, 20, 100, 50], [0, 0, 2, 2]], np.float32)
    sample = Sample(_jpeg(100, 50), 100, 50, boxes, ("a", "b"), np.eye(2, dtype=bool))
    kind, small = encode(sample, max_side=30)
    assert (kind, small.width, small.height) == ("jpg", 30, 15)
    assert small.boxes.tolist() == [[3, 6, 30, 15]]  # the other comes below a pixel
    assert small.labels.tolist() == [[True, False]] and small.concepts == ("a", "b")
    assert encode(sample, max_side=100)[1].image == sample.image


def test_photos_that_decoders_show_differently_are_written_anew() -> None:
    exif = Image.Exif()
    exif[274] = 6
    kind, upright = encode(pair(_jpeg(40, 20, exif=exif)))
    assert kind == "jpg" and (upright.width, upright.height) == (20, 40)
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 9)).save(buffer, "PNG")
    kind, opaque = encode(pair(buffer.getvalue()))
    assert kind == "jpg" and isinstance(opaque.image, bytes)
    assert Image.open(io.BytesIO(opaque.image)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("image", "reason"),
    [(_jpeg(90, 90)[:-400], "decoded"), (b"", "decoded"), (Path("nowhere.jpg"), "read")],
)
def test_photos_that_cannot_be_used_say_why(image: bytes | Path, reason: str) -> None:
    with pytest.raises(ValueError, match=f"a photo that cannot be {reason}"):
        encode(pair(image))
    wrong = Sample(
        _jpeg(9, 8), 8, 9, np.array([[0, 0, 5, 5]], np.float32), ("a",), np.ones((1, 1), bool)
    )
    with pytest.raises(ValueError, match="another size"):
        encode(wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("zip", ("a",)), "unknown kind 'zip'"),
        (("lvis", ("a",)), "lvis takes LVIS.json COCO_IMAGES"),
        (("coco", ("a",), "", -1), "max_side"),
        (("coco", ("a",), "", 0, 0), "per_shard"),
    ],
)
def test_settings_are_checked(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(*arguments)  # type: ignore[arg-type]


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(SystemExit, match=r"bad\.json is not in COCO format"):
        pack.main(["coco", str(tmp_path / "bad.json"), "--out", str(tmp_path / "out")])
