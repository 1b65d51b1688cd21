"""Which task an image belongs to, when names say it and when they do not."""

from __future__ import annotations

import pytest

from app.labelstudio.images import local_address
from app.labelstudio.matching import match_tasks
from app.runs.records import ImageRow


def row(id: int, name: str, sha256: str | None = None, task: int | None = None) -> ImageRow:
    sha256 = sha256 or f"{id}"
    place = f"/photos/{name}"
    return ImageRow(id, name, place, None, task, "done", None, sha256, 64, 48, 0.1)


@pytest.mark.parametrize(
    ("rows", "paths", "pairs", "unmatched"),
    [
        ([row(1, "a.jpg")], ["x/a.jpg"], [(1, 0)], []),
        ([row(1, "a.jpg")], ["x/a.jpg", "x/a.jpg"], [(1, 0), (1, 1)], []),
        ([row(1, "a.jpg")], ["x/a.jpg", "y/a.jpg"], [], ["a.jpg"]),
        ([row(1, "x/a.jpg")], ["x/a.jpg", "y/a.jpg"], [(1, 0)], []),
        # one task, two images of that name: the longer path wins, else neither
        ([row(1, "x/a.jpg"), row(2, "y/a.jpg")], ["y/a.jpg"], [(2, 0)], ["x/a.jpg"]),
        ([row(1, "a.jpg"), row(2, "y/a.jpg")], ["z/y/a.jpg"], [(2, 0)], ["a.jpg"]),
        ([row(1, "x/a.jpg"), row(2, "y/a.jpg")], ["z/a.jpg"], [], ["x/a.jpg", "y/a.jpg"]),
        # two copies of one image share the task
        ([row(1, "x/a.jpg", "same"), row(2, "y/a.jpg", "same")], ["z/a.jpg"], [(1, 0)], []),
    ],
)
def test_by_the_end_of_the_address(
    rows: list[ImageRow], paths: list[str], pairs: list[tuple[int, int]], unmatched: list[str]
) -> None:
    urls = {task: local_address(path) for task, path in enumerate(paths)}
    found, without = match_tasks(rows, urls)
    assert [(image.id, task) for image, task in found] == pairs
    assert without == unmatched


def test_the_surest_sign_goes_first() -> None:
    urls = {7: local_address("x/a.jpg"), 8: "/data/upload/1/12345678-a.jpg"}
    images = [row(1, "x/a.jpg"), row(2, "b.jpg", "digest")]
    found, without = match_tasks(images, urls, None, {"digest": [8]})
    assert {task: image.id for image, task in found} == {7: 1, 8: 2} and without == []
    found, _ = match_tasks([row(1, "b.jpg", task=7)], urls)
    assert [(image.id, task) for image, task in found] == [(1, 7)], "the task it came from"
    elsewhere = ImageRow(1, "b", urls[7], None, 99, "done", None, "1", 1, 1, 0.1)
    found, _ = match_tasks([elsewhere], urls)
    assert [task for _, task in found] == [7], "the same address in another project"
