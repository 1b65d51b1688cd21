"""Tasks may name any image: what is not allowed is not fetched, and the key stays."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from app.labelstudio.api.connection import Connection
from app.labelstudio.api.image_check import check_images
from app.labelstudio.api.image_reader import TaskImages
from app.runs.files import SourceError
from app.runs.records import ImageRef
from app.runs.sources import Hosts
from tests.app.labelstudio.hostile import KEY, PROJECT, Wire, at, hostile


def test_an_image_is_not_fetched_where_nobody_allowed_it() -> None:
    with hostile(lambda wire: wire.body(b"inside")) as (inside, seen):
        place = f"{inside}/latest/meta-data"
        with hostile(lambda wire: wire.body(b"", 302, Location=place)) as (url, _):
            connection = at(url)
            for address in (
                "s3://bucket/a.jpg",
                "/data/upload/1/a.jpg",
                f"{url}/x.jpg",
                "/data/local-files/?d=a.jpg",
            ):
                with pytest.raises(SourceError, match=r"is not allowed; name it with"):
                    TaskImages(connection).read(ImageRef("a.jpg", address, None, 1))
            assert seen == []
            allowed = TaskImages(connection, hosts=Hosts.of(inside.removeprefix("http://")))
            assert allowed.read(ImageRef("a.jpg", "s3://bucket/a.jpg", None, 1)) == b"inside"
            assert [key for _, _, key in seen] == [None], "without the key"


@pytest.mark.parametrize(
    ("place", "url", "allowed"),
    [
        ("s3://b/a", "https://b.s3.eu-west-1.amazonaws.com/a?X-Amz-Signature=1", True),
        ("s3://b/a", "https://s3.amazonaws.com/b/a", True),
        ("gs://b/a", "https://storage.googleapis.com/b/a", True),
        ("azure-blob://b/a", "https://me.blob.core.windows.net/b/a", True),
        ("s3://b/a", "http://b.s3.eu-west-1.amazonaws.com/a", False),
        ("s3://b/a", "https://b.s3.amazonaws.com:8443/a", False),
        ("s3://b/a", "https://b.s3.amazonaws.com.evil.example/a", False),
        ("s3://b/a", "https://evils3.amazonaws.com.example/a", False),
        ("s3://b/a", "https://ec2-10-0-0-1.compute.amazonaws.com/a", False),
        ("s3://b/a", "https://169.254.169.254/a", False),
        ("gs://b/a", "https://b.s3.amazonaws.com/a", False),
    ],
)
def test_a_cloud_hands_out_its_own_files(place: str, url: str, allowed: bool) -> None:
    from app.labelstudio.api.image_reader import _is_storage

    assert _is_storage(url, place) is allowed


def test_a_task_cannot_use_the_key() -> None:
    with hostile(lambda wire: wire.body(b"")) as (url, seen):
        images = TaskImages(at(url))
        for place in (
            "/api/projects/1/next",
            f"{url}/api/projects/1/export",
            "/logout",
            "/data/upload/../../api/projects/1/next",
            "/data/%2e%2e/api/x",
            "/data/upload/%2e%2e/%2e%2e/api/x",
        ):
            with pytest.raises(SourceError, match="no address of an image"):
                images.read(ImageRef("a.jpg", place, None, 1))
        assert seen == []


def test_the_check_opens_what_detect_opens_and_nothing_else(tmp_path: Path) -> None:
    """EPS would be handed to Ghostscript, which runs what is in the file."""
    eps, ok = BytesIO(), BytesIO()
    Image.new("RGB", (8, 4)).save(eps, "EPS")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(ok, "JPEG", exif=exif)
    files = {"a.jpg": eps.getvalue(), "b.jpg": ok.getvalue(), "c.jpg": b"no picture"}

    def script(wire: Wire) -> None:
        if wire.path.startswith("/data/upload/"):
            wire.body(files[wire.path.rpartition("/")[2]])
        elif wire.path.startswith("/api/tasks/"):
            tasks = [
                {"id": i, "data": {"image": f"/data/upload/1/{n}"}} for i, n in enumerate(files)
            ]
            wire.json({"total": 3, "tasks": tasks})
        else:
            wire.json(PROJECT)

    with hostile(script) as (url, _):
        found = check_images(at(url), 1, TaskImages(at(url)))
    assert [one.ok for one in found] == [False, True, False]
    assert "not a picture" in found[0].status and found[1].status == "ok, 4 x 8 px"


def test_a_file_of_this_machine_has_a_limit_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.labelstudio.api.image_reader.MAX_BYTES", 10)
    (tmp_path / "large.jpg").write_bytes(bytes(11))
    images = TaskImages(Connection("http://127.0.0.1:9", KEY), document_root=tmp_path)
    with pytest.raises(SourceError, match="more than 10 bytes"):
        images.read(ImageRef("large.jpg", "/data/local-files/?d=large.jpg", None, 1))
