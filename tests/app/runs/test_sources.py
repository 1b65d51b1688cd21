"""Where images come from: folders, globs, archives that mean harm, addresses of allowed hosts."""

from __future__ import annotations

import os
import threading
import time
import unicodedata
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.formats.names import flat_names, picture_names
from app.runs import archive
from app.runs.files import SourceError
from app.runs.records import ImageRef
from app.runs.sources import Hosts, _unique, find_images, read


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """A host with a picture, and one address that leads elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            away = self.path.startswith("/away")
            self.send_response(302 if away else 200 if self.path.startswith("/ok") else 404)
            if away:
                self.send_header("Location", "http://localhost:1/secret")
            self.end_headers()
            if not away:
                self.wfile.write(b"picture")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


def test_folders_and_globs(photos: Path) -> None:
    names = [image.file_name for image in find_images([photos])]
    assert names == ["broken.png", "cat ünïcode.jpg", "coffee.jpg", "sub/coffee.jpg"]
    assert len(find_images([str(photos / "*.jpg")])) == 2
    assert len(find_images([str(photos / "**" / "coffee.jpg"), photos])) == 4
    with pytest.raises(SourceError, match="no images match"):
        find_images([str(photos / "*.gif")])


def test_an_archive_is_read_in_place_and_cannot_leave_it(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    content = (photos / "coffee.jpg").read_bytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("a/x.jpg", "../../evil.jpg", "/abs.jpg", "a\\..\\y.jpg", "__MACOSX/a/x.jpg"):
            packed.writestr(name, content)
        packed.writestr("readme.txt", "no image")
    images = find_images([path])
    assert sorted(i.file_name for i in images) == ["a/x.jpg", "a/y.jpg", "abs.jpg", "evil.jpg"]
    assert all(read(image) == content for image in images)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos", "photos.zip"]


def test_members_keep_their_names_whatever_signs_are_in_them(tmp_path: Path) -> None:
    names = [
        "2024-05-01 12:30:00.webp",
        "2024-05-01 12:30:01.webp",
        "2024-05-01 12-30-01.webp",
        "C:/fotos/a.png",
        "Café.png",
        "Cafe\u0301.png",
        "CAFÉ.PNG",
        "con.png",
        "x. .png",
        "x.png",
        "what?.png",
        "../up.png",
        "/root.png",
    ]
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for number, name in enumerate(names):
            packed.writestr(name, str(number))
    found = find_images([archive])
    assert {image.member: image.file_name for image in found} == {name: name for name in names} | {
        "C:/fotos/a.png": "fotos/a.png",
        "../up.png": "up.png",
        "/root.png": "root.png",
    }
    for image in found:
        assert read(image) == str(names.index(str(image.member))).encode()
    stems = [Path(name).stem for name in flat_names([image.file_name for image in found])]
    assert len({unicodedata.normalize("NFC", stem).casefold() for stem in stems}) == len(names)
    for stem in (*stems, *(Path(name).stem for name in picture_names(names))):
        assert not set(stem) & set('<>:"/\\|?*') and stem == stem.rstrip(". ")
        assert stem.split(".")[0].upper() != "CON"


def test_an_archive_is_opened_once_for_all_its_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for number in range(200):
            packed.writestr(f"{number}.png", str(number))
    opened, contents_of = [], zipfile.ZipFile._RealGetContents  # type: ignore[attr-defined]

    def counted(self: zipfile.ZipFile) -> None:
        opened.append(self)
        contents_of(self)

    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", counted)
    images = find_images([archive])
    with ThreadPoolExecutor(4) as threads:
        contents = list(threads.map(read, images))
    assert contents == [str(image.file_name).removesuffix(".png").encode() for image in images]
    assert len(opened) == 2, "once to list, once to read"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("0.png", "another")
    assert read(images[0]) == b"another"
    archive.unlink()
    with pytest.raises(SourceError, match="the archive is gone"):
        read(images[0])


def test_equal_names_are_numbered_in_linear_time(tmp_path: Path) -> None:
    for count in (2_000, 8_000):
        images = [ImageRef("a.b/x.png", f"https://h/{n}") for n in range(count)]
        start = time.process_time()
        named = _unique(images)
        flat = flat_names(["x.png"] * count)
        spent = time.process_time() - start
        assert spent < 2, "quadratic, it takes a minute"
        assert len({image.file_name for image in named}) == len(set(flat)) == count
    assert named[1].file_name == "a.b/x-2.png"


def test_a_bomb_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("bomb.png", bytes(3_000_000))
    monkeypatch.setattr(archive, "MAX_BYTES", 1_000_000)
    (image,) = find_images([path])
    with pytest.raises(SourceError, match="once unpacked"):
        read(image)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SourceError, match="pack it again"):
        find_images([path])


def test_addresses_need_an_allowed_host(host: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"# mine\nhttp://{host}/ok/a%20b.jpg?size=1\nhttp://{host}/ok/a%20b.jpg\n")
    first, second = find_images([path])
    assert (first.file_name, second.file_name) == ("ok/a b.jpg", "ok/a b-2.jpg")
    assert read(first, Hosts.of(host)) == b"picture"
    with pytest.raises(SourceError, match="is not allowed; name it with --hosts"):
        read(first, Hosts.of("example.org"))
    for address, message in (("away", "localhost:1"), ("gone", "answers 404")):
        (image,) = find_images([f"http://{host}/{address}"])
        with pytest.raises(SourceError, match=message):
            read(image, Hosts.of(host))
    with pytest.raises(SourceError, match="only http"):
        Hosts.of(host).check("file:///etc/passwd")
    path.write_text("nonsense")
    with pytest.raises(SourceError, match="line 1"):
        find_images([path])


def test_what_is_no_address_is_named(tmp_path: Path) -> None:
    bad = "http://[bad/1.jpg"
    (tmp_path / "list.txt").write_text(bad)
    for places in ([tmp_path / "list.txt"], [bad]):
        with pytest.raises(SourceError, match=r"\[bad/1\.jpg: no address .* correct it"):
            find_images(places)
    with pytest.raises(SourceError, match="no address"):
        Hosts.of("bad").check(bad)


def test_names_of_other_encodings_are_shown_and_cannot_be_read(photos: Path) -> None:
    for odd in (b"caf\xe9.jpg", b"caf\xe8.jpg"):
        os.link(photos / "coffee.jpg", os.fsencode(photos) + b"/" + odd)
    with zipfile.ZipFile(os.fsdecode(os.fsencode(photos) + b"/\xe9.zip"), "w") as archive:
        archive.write(photos / "coffee.jpg", "a.jpg")
    images = find_images([photos, os.fsdecode(os.fsencode(photos) + b"/\xe9.zip")])
    names = {image.file_name for image in images}
    assert {"caf\\xe9.jpg", "caf\\xe8.jpg", "a.jpg", "coffee.jpg"} < names
    for image in images:
        assert f"{image}".encode(), "a ledger can hold it"
        if "\\x" in image.place:
            with pytest.raises(SourceError, match="its name is not UTF-8; rename it"):
                read(image)
