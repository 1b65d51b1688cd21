"""A photo is read and decoded once, and a vocabulary parsed once, until they change."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app import photo_cache
from app.engine import Engine
from detclipv2.inference.images import ImageError, open_image
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DetectSettings
from tests.places import DEMO


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often files were read and decoded, and words parsed."""
    counts: Counter[str] = Counter()

    def count(target: Any, name: str, what: str) -> None:
        real = getattr(target, name)

        def counting(*args: Any, **options: Any) -> Any:
            counts[what] += 1
            return real(*args, **options)

        monkeypatch.setattr(target, name, counting)

    count(Path, "read_bytes", "read")
    count(photo_cache, "open_image", "decoded")
    count(Vocabulary, "parse", "parsed")
    return counts


def test_a_moved_threshold_reads_nothing_again(
    checkpoint: Path, photos: Path, counted: Counter[str]
) -> None:
    engine = Engine.load(str(checkpoint))
    photo = str(photos / "coffee.jpg")
    words = "cup\na spoon"
    engine.detect(photo, words, DetectSettings(0.3))
    engine.preview(photo)
    before, passes = counted.copy(), engine.image_passes
    assert (before["decoded"], before["parsed"]) == (1, 1)
    engine.detect(photo, words, DetectSettings(0.1))
    engine.preview(photo)
    assert counted == before and engine.image_passes == passes
    engine.detect(photo, words, DetectSettings(0.1, tiles=2))
    assert counted["decoded"] == 1, "the last photo is kept in full size"


def test_a_file_that_changed_is_read_anew(checkpoint: Path, tmp_path: Path) -> None:
    engine, path = Engine.load(str(checkpoint)), tmp_path / "a.png"
    Image.new("RGB", (40, 30), "red").save(path)
    first, _ = engine.preview(path)
    time = path.stat().st_mtime_ns
    Image.new("RGB", (40, 30), "blue").save(path)
    os.utime(path, ns=(time, time))  # as a tool that keeps times does
    second, _ = engine.preview(path)
    assert first.getpixel((0, 0)) == (255, 0, 0) and second.getpixel((0, 0)) == (0, 0, 255)


def test_another_file_with_the_same_content_runs_no_tower(checkpoint: Path, tmp_path: Path) -> None:
    engine, copy = Engine.load(str(checkpoint)), tmp_path / "copy.jpg"
    copy.write_bytes((DEMO / "coffee.jpg").read_bytes())
    assert engine.detect(DEMO / "coffee.jpg", "cup", DetectSettings()).image_ran
    assert not engine.detect(copy, "cup", DetectSettings()).image_ran


def test_errors_name_the_file_without_its_folders(checkpoint: Path, tmp_path: Path) -> None:
    engine, path = Engine.load(str(checkpoint)), tmp_path / "broken.png"
    path.write_bytes(b"no picture")
    for source in (path, tmp_path / "gone.png", tmp_path):
        with pytest.raises(ImageError) as raised:
            engine.preview(source)
        assert str(raised.value).startswith(f"{source.name}: ")
        assert str(tmp_path) not in str(raised.value)
    with pytest.raises(ImageError, match=r"^photo 7: not a picture"):
        open_image(b"no picture", name="photo 7")
