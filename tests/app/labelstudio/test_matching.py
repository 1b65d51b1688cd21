"""Which task an image belongs to, when names say it and when they do not."""

from __future__ import annotations

import pytest

from app.labelstudio.api.addresses import local_address
from app.labelstudio.push.matching import Matching, TaskImage
from app.labelstudio.push.matching import match_tasks as match_images
from app.runs.records import ImageRow


def row(id: int, name: str, sha256: str | None = None, task: int | None = None) -> ImageRow:
    sha256 = sha256 or f"{id}"
    place = f"/photos/{name}"
    return ImageRow(id, name, place, None, task, "done", None, sha256, 64, 48, 0.1)


def match_tasks(
    rows: list[ImageRow],
    urls: dict[int, str],
    root: None = None,
    digests: dict[str, list[int]] | None = None,
) -> Matching:
    """For tasks of one image each, by their numbers."""
    slots = {TaskImage(task, "image"): url for task, url in urls.items()}
    told = {key: [TaskImage(one, "image") for one in ones] for key, ones in (digests or {}).items()}
    found = match_images(rows, slots, root, told)
    pairs = [(image, slot.task) for image, slot in found.pairs]
    return Matching(pairs, found.unmatched, found.by_name)  # type: ignore[arg-type]


def test_every_image_of_a_task_is_found() -> None:
    urls = {
        TaskImage(7, "left"): local_address("x/a.jpg"),
        TaskImage(7, "pages", 0): local_address("x/b.jpg"),
        TaskImage(7, "pages", 1): local_address("x/a.jpg"),
        TaskImage(8, "pages", 0): local_address("x/b.jpg"),
    }
    rows = [
        ImageRow(i, name, local_address(f"x/{name}"), None, 7, "done", None, name, 8, 8, 0.1)
        for i, name in enumerate(("a.jpg", "b.jpg"))
    ]
    found = match_images(rows, urls)
    assert [(image.id, slot) for image, slot in found.pairs] == [
        (0, TaskImage(7, "left")),
        (0, TaskImage(7, "pages", 1)),
        (1, TaskImage(7, "pages", 0)),
    ]
    assert found.unmatched == ()


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
        ([row(1, "x/a.jpg", "same"), row(2, "y/a.jpg", "same")], ["a.jpg"], [(1, 0)], []),
        ([row(1, "x/a.jpg", "same"), row(2, "y/a.jpg", "same")], ["z/y/a.jpg"], [(2, 0)], []),
        # folders that both sides name have to agree, though there is one task and one image
        ([row(1, "x/a.jpg")], ["y/a.jpg"], [], ["x/a.jpg"]),
        ([row(1, "x/y/a.jpg")], ["y/a.jpg"], [(1, 0)], []),
        ([row(1, "x/y/a.jpg")], ["z/y/a.jpg"], [], ["x/y/a.jpg"]),
        ([row(1, "shots/a #1?.jpg")], ["x/shots/a #1?.jpg"], [(1, 0)], []),
    ],
)
def test_by_the_end_of_the_address(
    rows: list[ImageRow], paths: list[str], pairs: list[tuple[int, int]], unmatched: list[str]
) -> None:
    urls = {task: local_address(path) for task, path in enumerate(paths)}
    found = match_tasks(rows, urls)
    assert [(image.id, task) for image, task in found.pairs] == pairs
    assert list(found.unmatched) == unmatched
    assert found.by_name == len(pairs)


def test_the_surest_sign_goes_first() -> None:
    urls = {7: local_address("x/a.jpg"), 8: "/data/upload/1/12345678-a.jpg"}
    images = [row(1, "x/a.jpg"), row(2, "b.jpg", "digest")]
    found = match_tasks(images, urls, None, {"digest": [8]})
    assert {task: image.id for image, task in found.pairs} == {7: 1, 8: 2}
    assert found.unmatched == () and found.by_name == 1
    own = ImageRow(1, "b.jpg", urls[7], None, 7, "done", None, "1", 64, 48, 0.1)
    doubled = {6: urls[7], **urls}
    found = match_tasks([own], doubled)
    assert [(image.id, task) for image, task in found.pairs] == [(1, 7)], "the task it came from"
    found = match_tasks([own], {7: local_address("y/c.jpg")})
    assert not found.pairs and found.unmatched == ("b.jpg",), "task 7 of another server"
    elsewhere = ImageRow(1, "b", urls[7], None, 99, "done", None, "1", 1, 1, 0.1)
    found = match_tasks([elsewhere], urls)
    assert [task for _, task in found.pairs] == [7], "the same address in another project"
    assert found.by_name == 0


def test_a_task_that_tells_another_digest_is_never_guessed_at() -> None:
    urls = {5: "/data/upload/7/12345678-IMG_0001.jpg", 6: local_address("x/IMG_0002.jpg")}
    images = [row(1, "IMG_0001.jpg"), row(2, "IMG_0002.jpg")]
    found = match_tasks(images, urls, None, {"another": [5]})
    assert [(image.id, task) for image, task in found.pairs] == [(2, 6)]
    assert found.unmatched == ("IMG_0001.jpg",) and found.by_name == 1


def test_an_upload_and_an_address_have_no_folders_of_the_photos() -> None:
    urls = {5: "/data/upload/7/12345678-a.jpg", 6: "https://host/b.jpg?size=9", 7: "http://[no"}
    found = match_tasks([row(1, "x/a.jpg"), row(2, "x/b.jpg")], urls)
    assert [(image.id, task) for image, task in found.pairs] == [(1, 5), (2, 6)]
