"""What lies on disk: pictures, captions, archives, run folders, checkpoints."""

from __future__ import annotations

import io
import json
import random
import shutil
import sqlite3
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.runs.files import SourceError
from app.runs.records import ImageRef, RunError
from app.runs.store import Run
from detclipv2.inference.images import ImageError
from tests.fuzz.bending import bent_bytes, bent_json, bent_text
from tests.fuzz.driver import Surface
from tests.fuzz.words import PIECES
from tests.places import DEMO


def file_surfaces(folder: Path, checkpoint: Path) -> list[Surface]:
    """Those of files, which are written below `folder`."""
    return [
        Surface("pictures", _pictures, _open_picture, (ImageError,)),
        Surface("captions", _captions, _Captions(folder / "captions"), (ValueError,)),
        Surface("archives", _archives, _Archives(folder / "zips"), (SourceError,)),
        # SQLite's own word where the damage shows later; page and command line say it, too
        Surface("run folders", _run_folders, _Runs(folder / "runs"), (RunError, sqlite3.Error)),
        Surface("checkpoints", _checkpoints, _Checkpoints(folder, checkpoint), (RuntimeError,)),
    ]


def _pictures(chance: random.Random) -> Iterator[Any]:
    good = []
    small = Image.open(DEMO / "coffee.jpg").resize((48, 32))
    for kind, mode in (
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("PNG", "I;16"),
        ("PNG", "1"),
        ("WEBP", "RGB"),
        ("GIF", "P"),
        ("TIFF", "RGB"),
        ("TIFF", "F"),
        ("BMP", "RGB"),
        ("PPM", "RGB"),
        ("TGA", "RGBA"),
        ("ICO", "RGBA"),
        ("AVIF", "RGB"),
        ("JPEG2000", "RGB"),
        ("EPS", "RGB"),
    ):
        stream = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        options = {"exif": exif} if kind in ("JPEG", "WEBP", "PNG") else {}
        picture = small.convert("I").convert("I;16") if mode == "I;16" else small.convert(mode)
        picture.save(stream, kind, **options)  # type: ignore[arg-type]
        good.append(stream.getvalue())
    arrays = (
        np.zeros((0, 0, 3)),
        np.zeros((4, 4, 7)),
        np.full((4, 4), np.nan),
        np.zeros((2, 2, 3), bool),
        np.full((4, 4, 3), 1e300),
        np.zeros((3,)),
        np.zeros((4, 4, 3), complex),
        np.array("x"),
        np.zeros((4, 4, 4), np.int64) - 5,
        np.zeros((1, 1), object),
    )
    while True:
        how = chance.random()
        if how < 0.05:
            yield chance.choice(arrays)
        elif how < 0.1:
            yield chance.choice((b"", "", "/", "/dev", "\x00", "http://x/a.png", None, 3, ["a"]))
        else:
            yield bent_bytes(chance.choice(good), chance)


def _open_picture(source: Any) -> None:
    from detclipv2.inference.images import open_image

    picture = open_image(source, max_pixels=4_000_000)
    assert picture.mode == "RGB" and picture.width * picture.height <= 4_000_000


CAPTIONS: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 9, "split": "val"}],
    "annotations": [{"id": 1, "image_id": 1, "caption": "a cat on a mat"}],
}


def _captions(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    tables = (
        "a.jpg\ta cat\nb.jpg\ta dog\n",
        'image,caption\na.jpg,"a cat, and a dog"\n',
        "a.jpg#0\ta cat\n",
        "caption;image\na cat;a.jpg\n",
        "url\tcaption\n//h/a\tx\n",
    )
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in (("a.jpg", b"x" * 700), ("a.txt", b"a cat"), ("a.json", b'{"t":1}')):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    while True:
        kind = chance.choice((".json", ".json", ".tsv", ".csv", ".txt", ".tar"))
        if kind == ".json":
            yield kind, bent_json(CAPTIONS, chance)
        elif kind == ".tar":
            yield kind, bent_bytes(stream.getvalue(), chance)
        else:
            text = bent_text(chance.choice(tables), PIECES, chance)
            yield kind, text.encode("utf-8", "surrogatepass")


class _Captions:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder

    def __call__(self, given: tuple[str, bytes]) -> None:
        from detclipv2.datasets.captions import find_captions

        file = self._folder / f"captions{given[0]}"
        file.write_bytes(given[1])
        for one in find_captions(file, lambda reason, name: None):
            assert isinstance(one.caption, str) and isinstance(one.name, str)


def _archives(chance: random.Random) -> Iterator[bytes]:
    names = (
        "a.jpg",
        "2024-05-01 12:30:00.webp",
        "C:/b.png",
        "../../c.jpg",
        "/d.jpg",
        "e\\f.jpg",
        "CON.jpg",
        "g.jpg ",
        "é.jpg",
        "e\u0301.jpg",
        "A.JPG",
        ".hidden.jpg",
        "h/",
        "i.txt",
    )
    while True:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name in chance.sample(names, chance.randrange(1, len(names))):
                packing = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
                archive.writestr(name, b"x" * chance.choice((0, 9, 5000)), packing)
        content = stream.getvalue()
        yield content if chance.random() < 0.2 else bent_bytes(content, chance)


class _Archives:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder

    def __call__(self, content: bytes) -> None:
        from app.runs.sources import find_images, read

        file = self._folder / "photos.zip"
        file.unlink(missing_ok=True)  # another file, not the same with other bytes
        file.write_bytes(content)
        found = find_images([str(file)])
        names = [image.file_name for image in found]
        assert len(set(names)) == len(names)
        for image in found:
            try:
                read(image)
            except SourceError:
                continue


def _run_folders(chance: random.Random) -> Iterator[tuple[str, random.Random]]:
    while True:
        file = chance.choice(("run.json", "run.json", "view.json", "ledger.sqlite"))
        yield file, random.Random(chance.random())


class _Runs:
    """A good run, one of whose files is bent, lost, or something else."""

    def __init__(self, folder: Path) -> None:
        from app.runs.settings import RunSettings

        folder.mkdir()
        self._good, self._bent = folder / "good", folder / "bent"
        settings = RunSettings("tiny", "0" * 64, "cat\ncup @0.4")
        Run.create(self._good, settings, [ImageRef("a.jpg", "/a.jpg")]).close()

    def __call__(self, given: tuple[str, random.Random]) -> None:
        name, chance = given
        shutil.rmtree(self._bent, ignore_errors=True)
        shutil.copytree(self._good, self._bent)
        file = self._bent / name
        content = file.read_bytes() if file.exists() else b"{}"
        if name.endswith(".json") and chance.random() < 0.7:
            content = bent_json(json.loads(content), chance)
        else:
            content = bent_bytes(content, chance)
        if chance.random() < 0.05:
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(content)
        run = Run(self._bent)
        try:
            assert run.counts().total >= 0
            for row in run.images():
                run.boxes(row)
            assert run.view.thresholds and run.model_version
        finally:
            run.close()


def _checkpoints(chance: random.Random) -> Iterator[tuple[str, random.Random]]:
    while True:
        yield (
            chance.choice(("config.json", "card.json", "model.safetensors")),
            random.Random(chance.random()),
        )


class _Checkpoints:
    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self._good, self._bent = checkpoint, folder / "checkpoint"

    def __call__(self, given: tuple[str, random.Random]) -> None:
        from detclipv2.checkpoint import load_checkpoint

        name, chance = given
        shutil.rmtree(self._bent, ignore_errors=True)
        shutil.copytree(self._good, self._bent)
        file = self._bent / name
        content = file.read_bytes()
        if name == "model.safetensors":
            (self._bent / "card.json").write_text("{}")  # no digest, which would tell at once
            head = 8 + int.from_bytes(content[:8], "little")
            content = bent_bytes(content[:head], chance) + content[head:]
        else:
            content = bent_json(json.loads(content), chance)
        file.write_bytes(content)
        load_checkpoint(self._bent)
