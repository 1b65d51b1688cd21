"""Frames of videos: which they are, that each is the right one in any order, what is refused."""

from __future__ import annotations

import threading
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from app.cli import main
from app.runs import video
from app.runs.files import SourceError
from app.runs.records import ImageRef
from app.runs.sources import find_images, read
from app.runs.store import Run
from detclipv2.inference import images

RATE, COUNT = 10.0, 55
KINDS = {".mp4": "mp4v", ".mov": "mp4v", ".avi": "MJPG", ".mkv": "mp4v", ".webm": "VP80"}


def write_video(path: Path, count: int = COUNT, size: tuple[int, int] = (64, 48)) -> Path:
    """Frame k is grey 4·k."""
    code = cv2.VideoWriter.fourcc(*KINDS[path.suffix])
    writer = cv2.VideoWriter(str(path), code, RATE, size)
    for index in range(count):
        writer.write(np.full((size[1], size[0], 3), 4 * index, np.uint8))
    writer.release()
    return path


def shown(image: ImageRef) -> int:
    """The number of the frame, read off its grey; video's black and white are a bit narrower."""
    return round(float(np.asarray(Image.open(BytesIO(read(image)))).mean()) / 4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_half_second_in_any_order(tmp_path: Path, kind: str) -> None:
    found = find_images([write_video(tmp_path / f"clip{kind}")], every=0.5)
    assert [image.member for image in found] == [str(5 * k) for k in range(11)]
    assert found[3].file_name == f"clip{kind}/000001.500s.jpg"
    contents = [read(image) for image in found]
    for order in (range(10, -1, -1), (4, 9, 0, 9, 10)):
        for index in order:
            assert read(found[index]) == contents[index]
    for wanted, image in zip(range(0, COUNT, 5), found, strict=True):
        assert shown(image) == pytest.approx(wanted, abs=1)


def test_all_frames_where_more_are_asked_for_than_there_are(tmp_path: Path) -> None:
    found = find_images([write_video(tmp_path / "clip.mp4", 7)], every=0.001)
    assert [shown(image) for image in found] == pytest.approx(list(range(7)), abs=1)


def test_videos_are_named_apart_and_only_where_they_are_meant(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / "clip.mp4", 3)
    found = find_images([str(tmp_path / "*" / "clip.mp4")])
    assert [image.file_name for image in found] == [
        "clip.mp4/000000.000s.jpg",
        "clip.mp4/000000.000s-2.jpg",
    ]
    with pytest.raises(SourceError, match=r"clips/\*\.mp4"):
        find_images([tmp_path / "a"])


def test_threads_that_read_two_videos_get_the_right_frames(tmp_path: Path) -> None:
    both = [find_images([write_video(tmp_path / f"{name}.mp4")], every=0.5) for name in "ab"]
    seen: list[list[int]] = [[], []]

    def look(index: int) -> None:
        seen[index] = [shown(image) for image in both[index][:: 1 - 2 * index]]

    threads = [threading.Thread(target=look, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen[0] == pytest.approx(list(range(0, COUNT, 5)), abs=1)
    assert seen[1] == seen[0][::-1]


def test_a_video_that_changes_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    (first, *_) = find_images([write_video(path)], every=9)
    assert shown(first) == 0
    path.unlink()
    with pytest.raises(SourceError, match="the video is gone"):
        read(first)
    write_video(path, 55, (32, 32))
    with Image.open(BytesIO(read(first))) as picture:
        assert picture.size == (32, 32)


def test_what_only_claims_to_be_a_video_never_reaches_the_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A play list would make it read other files."""
    (tmp_path / "secret.txt").write_text("secret")
    path = tmp_path / "list.mp4"
    path.write_text(f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\n{tmp_path}/secret.txt\n")
    monkeypatch.setattr(cv2, "VideoCapture", None)
    with pytest.raises(SourceError, match="not a video"):
        find_images([path])


def test_damaged_and_impossible_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "clip.mp4")
    for every in (0.0, -1.0, float("nan")):
        with pytest.raises(SourceError, match="above 0"):
            find_images([path], every=every)
    monkeypatch.setattr(video, "MAX_FRAMES", 3)
    with pytest.raises(SourceError, match="every 2 seconds"):
        find_images([path], every=0.1)
    assert len(find_images([path], every=2)) == 3
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    path.touch()
    with pytest.raises(SourceError, match="64 × 48"):
        find_images([write_video(tmp_path / "other.mp4")])
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SourceError, match="convert it"):
        find_images([cut])


def test_a_video_becomes_a_run_with_pictures(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_video(tmp_path / "clip.mp4")
    run, out = tmp_path / "run", tmp_path / "out"
    words = ["--prompts", "cat", "--threshold", "0.01", "--model", str(checkpoint)]
    code = main(
        [
            "detect",
            str(path),
            "--every",
            "2",
            *words,
            "--run",
            str(run),
            "--out",
            str(out),
            "--format",
            "yolo",
        ]
    )
    assert code == 0, capsys.readouterr().err
    names = [row.file_name for row in Run(run).images()]
    assert names == [f"clip.mp4/00000{second}.000s.jpg" for second in (0, 2, 4)]
    assert len(list((out / "pictures").rglob("*.jpg"))) == 3
    assert len(list((run / "exports" / "yolo").rglob("*.jpg"))) == 3
