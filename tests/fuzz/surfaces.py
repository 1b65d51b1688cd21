"""The readers of outside data, each with inputs that go wrong in its own ways."""

from __future__ import annotations

import asyncio
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
from app.ui.request_guard import RequestGuard, ServedNames
from detclipv2.inference.images import ImageError
from detclipv2.language.vocabulary import Vocabulary, VocabularyError

from .bending import bent_bytes, bent_json, bent_text, bent_value
from .driver import Surface

DEMO = Path(__file__).resolve().parents[2] / "detclipv2" / "assets" / "demo"

LISTS = (
    "cat, a red mug", "cup: mug, tumbler @0.35\n!shadow\ncrane = machine that lifts loads",
    "cat . dog .", "cat;dog", "- cat\n- dog", "1. cat\n2) dog", "player #10, referee",
    "12:30 clock", '["cat", "dog"]', "{0: 'cat', 1: 'dog'}", "names:\n  0: cat\n  1: dog\nnc: 2\n",
    "a traffic light, stop sign and fire hydrant", "| a | b |\n|---|---|\n| cat | dog |",
    '<View><RectangleLabels name="l" toName="i"><Label value="cat"/></RectangleLabels></View>',
    '{"categories": [{"id": 1, "name": "cat"}]}', "item { id: 1 name: 'cat' }", "猫、犬；鳥",
    "“a cat”, «un chat», 'dog'", "cat\tdog", "Katze und Hund", "кошка, собака",
)  # fmt: skip
PIECES = (
    ",", ";", "|", "\n", "\r\n", "\t", " ", ".", " . ", ":", "@", "@0.5", "@-1", "@nan", "@1e9",
    "!", "#", " # ", '"', "'", "“", "`", "(", ")", "[", "]", "{", "}", "<", ">", "<br>", "&amp;",
    "&#0;", "&", "=", " = ", "-", "*", "•", "–", "/", "\\", "\x00", "\x1b", "\u200b", "\ufeff",
    "\u202e", "\ud800", "🙈", "猫", "، ", "。", "a and ", "or ", "cat", "a" * 300, "1.", "0: ",
    "- ", "[ ] ", "names:", "&a [*a,*a]", "*a", "!!python/object/apply:os.system ['true']", "%TAG",
    "---\n", "<!DOCTYPE x [<!ENTITY a 'b'>]>", "<View>", "</View>", "<Label value='", "null", "~",
    '{"id":', "item {", "N", "\u2028", "e\u0301", "ﬁ", "𝐜𝐚𝐭",
)  # fmt: skip
SUFFIXES = (".txt", ".json", ".yaml", ".xml", ".csv", ".tsv", ".names", ".pbtxt", ".md")


def surfaces(folder: Path, checkpoint: Path) -> list[Surface]:
    """All of them; what is read from disk is written below `folder`."""
    return [
        Surface("prompts", _prompts, _read_prompts, (VocabularyError,)),
        Surface("files of prompts", _files, _Files(folder / "lists"), (VocabularyError,)),
        Surface("edited tables", _tables, _read_table, (VocabularyError,)),
        Surface("pictures", _pictures, _open_picture, (ImageError,)),
        Surface("captions", _captions, _Captions(folder / "captions"), (ValueError,)),
        Surface("archives", _archives, _Archives(folder / "zips"), (SourceError,)),
        Surface("links", _links, _follow, (ValueError,)),
        Surface("edited phrases", _phrases, _read_phrases, (KeyError, TypeError, ValueError)),
        # SQLite's own word where the damage shows later; page and command line say it, too
        Surface("run folders", _run_folders, _Runs(folder / "runs"), (RunError, sqlite3.Error)),
        Surface("checkpoints", _checkpoints, _Checkpoints(folder, checkpoint), (RuntimeError,)),
        Surface("requests", _requests, _request, ()),
    ]


def _prompts(chance: random.Random) -> Iterator[str]:
    while True:
        if chance.random() < 0.2:
            count = chance.choice((1, 5, 40, 4000))
            yield "".join(chance.choice(PIECES) for _ in range(count))
        else:
            yield bent_text(chance.choice(LISTS), PIECES, chance)


def _read_prompts(text: str) -> None:
    from app.ui.vocabulary_chips import chips

    chips(text, Vocabulary.parse)
    vocabulary = Vocabulary.parse(text)
    assert Vocabulary.parse(vocabulary.serialise()) == vocabulary
    assert Vocabulary.deserialise(vocabulary.serialise()) == vocabulary
    assert all(name.strip() for name in vocabulary.names)


def _files(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    for text in _prompts(chance):
        content = text.encode(chance.choice(("utf-8", "utf-8", "utf-16")), "surrogatepass")
        if chance.random() < 0.3:
            content = bent_bytes(content, chance)
        yield chance.choice(SUFFIXES), content


class _Files:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder

    def __call__(self, given: tuple[str, bytes]) -> None:
        from app.vocabulary_files import read_vocabulary

        file = self._folder / f"list{given[0]}"
        file.write_bytes(given[1])
        read_vocabulary(file)


def _tables(chance: random.Random) -> Iterator[tuple[str, Any]]:
    good = [["cup", "mug, tumbler", 0.4, False, "a vessel", ""], ["dog", "", None, True, "", ""]]
    while True:
        rows: Any = good
        for _ in range(chance.choice((1, 2, 5))):
            rows = bent_value(rows, chance)
        # gradio gives a list of rows as wide as the table, cells of any kind
        rows = [
            (list(row) + [""] * 6)[:6] for row in rows if isinstance(row, list)
        ] if isinstance(rows, list) else good  # fmt: skip
        yield bent_text("cup: mug @0.4\ndog", PIECES, chance), rows


def _read_table(given: tuple[str, Any]) -> None:
    from app.ui.vocabulary_rows import from_rows, to_rows, with_thresholds

    text, rows = given
    to_rows(from_rows(rows))
    Vocabulary.parse(with_thresholds(text, rows))


def _pictures(chance: random.Random) -> Iterator[Any]:
    good = []
    small = Image.open(DEMO / "coffee.jpg").resize((48, 32))
    for kind, mode in (
        ("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16"),
        ("PNG", "1"), ("WEBP", "RGB"), ("GIF", "P"), ("TIFF", "RGB"), ("TIFF", "F"), ("BMP", "RGB"),
        ("PPM", "RGB"), ("TGA", "RGBA"), ("ICO", "RGBA"), ("AVIF", "RGB"), ("JPEG2000", "RGB"),
        ("EPS", "RGB"),
    ):  # fmt: skip
        stream = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        options = {"exif": exif} if kind in ("JPEG", "WEBP", "PNG") else {}
        picture = small.convert("I").convert("I;16") if mode == "I;16" else small.convert(mode)
        picture.save(stream, kind, **options)  # type: ignore[arg-type]
        good.append(stream.getvalue())
    arrays = (
        np.zeros((0, 0, 3)), np.zeros((4, 4, 7)), np.full((4, 4), np.nan),
        np.zeros((2, 2, 3), bool),
        np.full((4, 4, 3), 1e300), np.zeros((3,)), np.zeros((4, 4, 3), complex), np.array("x"),
        np.zeros((4, 4, 4), np.int64) - 5, np.zeros((1, 1), object),
    )  # fmt: skip
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
        "a.jpg\ta cat\nb.jpg\ta dog\n", 'image,caption\na.jpg,"a cat, and a dog"\n',
        "a.jpg#0\ta cat\n", "caption;image\na cat;a.jpg\n", "url\tcaption\n//h/a\tx\n",
    )  # fmt: skip
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
        from detclipv2.captions import find_captions

        file = self._folder / f"captions{given[0]}"
        file.write_bytes(given[1])
        for one in find_captions(file, lambda reason, name: None):
            assert isinstance(one.caption, str) and isinstance(one.name, str)


def _archives(chance: random.Random) -> Iterator[bytes]:
    names = (
        "a.jpg", "2024-05-01 12:30:00.webp", "C:/b.png", "../../c.jpg", "/d.jpg", "e\\f.jpg",
        "CON.jpg", "g.jpg ", "é.jpg", "e\u0301.jpg", "A.JPG", ".hidden.jpg", "h/", "i.txt",
    )  # fmt: skip
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


def _links(chance: random.Random) -> Iterator[dict[str, str]]:
    state = {
        "settings": {"threshold": 0.3, "nms_iou": 0.6, "max_boxes": 100, "tiles": 1},
        "phrases": [["a cat", 0, 5]], "screen": {"level": "all"},
    }  # fmt: skip
    good = {"view": "detect", "photo": "0" * 16, "words": "a cat"}
    while True:
        query = {name: str(bent_value(value, chance) if chance.random() < 0.2 else value)
                 for name, value in good.items()}  # fmt: skip
        query["view"] = chance.choice(("detect", "align", "browse", "compare", "train", "x"))
        query["state"] = bent_json(state, chance).decode("utf-8", "replace")
        yield query


def _follow(query: dict[str, str]) -> None:
    from app.ui.permalink import Link, find_photo

    link = Link.read(query)
    if link is not None:
        find_photo(link.photo)
        assert Link.read(dict(_pairs(link.query()))) == link


def _pairs(query: str) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl

    return parse_qsl(query.removeprefix("?"), keep_blank_values=True)


def _phrases(chance: random.Random) -> Iterator[tuple[Any, str]]:
    good = [{"text": "a cat", "span": [0, 5]}, {"text": "mat", "span": None}]
    while True:
        rows: Any = good
        for _ in range(chance.choice((1, 2, 4))):
            rows = bent_value(rows, chance)
        yield rows, bent_text("a cat on a mat", PIECES, chance)[:5000]


def _read_phrases(given: tuple[Any, str]) -> None:
    from app.ui.align_actions import read_phrases

    for phrase in read_phrases(*given):
        assert isinstance(phrase.text, str)


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
        from detclipv2.checkpoint import load

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
        load(self._bent)


def _requests(chance: random.Random) -> Iterator[list[tuple[bytes, bytes]]]:
    hosts = ("127.0.0.1:7860", "localhost", "[::1]:1", "evil.example", "127.0.0.1.evil.example")
    names = ("host", "origin", "sec-fetch-site", "x-forwarded-for", "forwarded", "via", "cookie",
             "x-forwarded-host", "sec-fetch-mode", "x-detclipv2-token", "")  # fmt: skip
    while True:
        headers = [(b"host", chance.choice(hosts).encode())]
        for _ in range(chance.randrange(6)):
            value = chance.choice((*hosts, "http://localhost", "null", "cross-site", "navigate"))
            value = bent_text(value, PIECES, chance)[:4000]
            headers.append((chance.choice(names).encode(), value.encode("utf-8", "surrogatepass")))
        chance.shuffle(headers)
        yield headers


def _request(headers: list[tuple[bytes, bytes]]) -> None:
    """Answered or refused, and never answered under a foreign name."""
    passed, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "client": ("127.0.0.1", 1),
             "headers": headers}  # fmt: skip
    guard = RequestGuard(app, ServedNames.of("127.0.0.1"))
    asyncio.run(guard(scope, None, send))  # type: ignore[arg-type]
    assert bool(passed) != (bool(sent) and sent[0]["status"] == 403)
    if passed:
        hosts = [value for name, value in headers if name == b"host"]
        assert len(hosts) == 1 and b"evil" not in hosts[0]
        assert not any(b"evil" in value for name, value in headers if name == b"origin")
