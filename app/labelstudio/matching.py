"""Which task each image of a run belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from app.labelstudio.images import read_address
from app.runs.records import ImageRow


def match_tasks(
    rows: Iterable[ImageRow], urls: Mapping[int, str], document_root: Path | None = None,
    digests: Mapping[str, list[int]] | None = None,
) -> tuple[list[tuple[ImageRow, int]], list[str]]:  # fmt: skip
    """(image, task) pairs, no task twice, and the names of images that have none.

    The task the image came from; else tasks whose data has the digest of its content, as our
    uploads have; else the same address, or file below the document root; else, without a document
    root, the only task whose address ends like the image's name, if no other image has a better
    claim to it. Of doubled tasks each gets the boxes.

    Args:
        rows: images of a run.
        urls: task → the address of its image.
        document_root: LOCAL_FILES_DOCUMENT_ROOT, for runs over files below it.
        digests: SHA-256 of an image's content → tasks.
    """
    root = None if document_root is None else document_root.resolve()
    by_key: dict[str, list[int]] = {}
    by_name: dict[str, list[int]] = {}
    for task, url in urls.items():
        address = read_address(url)
        by_key.setdefault(address.key, []).append(task)
        by_name.setdefault(_last_part(address.path, address.kind == "upload"), []).append(task)
    images: dict[int, ImageRow] = {}
    matched: set[int] = set()
    owner: dict[int, ImageRow] = {}
    guesses: dict[int, list[ImageRow]] = {}
    for row in rows:
        images[row.id] = row
        same = [row.task] if row.task is not None and row.task in urls else []
        found = same or (digests or {}).get(row.sha256 or "", []) or by_key.get(_key(row, root), [])
        for task in found:
            matched.add(row.id)
            owner.setdefault(task, row)  # two copies of one image show the same
        if not found and root is None:
            for task in _ending(row, by_name, urls):
                guesses.setdefault(task, []).append(row)
    for task, claimants in guesses.items():
        best = _best(claimants, urls[task])
        if best is not None and task not in owner:
            matched.update(row.id for row in claimants if row.sha256 == best.sha256)
            owner[task] = best
    pairs = sorted(((row, task) for task, row in owner.items()), key=lambda p: (p[0].id, p[1]))
    return pairs, [row.file_name for row in images.values() if row.id not in matched]


def _best(claimants: Sequence[ImageRow], url: str) -> ImageRow | None:
    """The image a task is about: the only content, else the longest path its address ends with."""
    if len({row.sha256 for row in claimants}) == 1:
        return claimants[0]
    whole = [row for row in claimants if _whole(row, url)]
    return max(whole, key=lambda row: len(row.file_name), default=None)


def _key(row: ImageRow, root: Path | None) -> str:
    if root is not None and row.member is None and Path(row.place).is_relative_to(root):
        return f"local file:{Path(row.place).relative_to(root).as_posix()}"
    return read_address(row.place).key


def _ending(row: ImageRow, by_name: Mapping[str, list[int]], urls: Mapping[int, str]) -> list[int]:
    """Tasks of one image whose address ends with the image's path; several images: none."""
    last = row.file_name.rpartition("/")[2]
    candidates = by_name.get(last, [])
    keys = {read_address(urls[task]).key for task in candidates}
    if len(keys) > 1:
        candidates = [task for task in candidates if _whole(row, urls[task])]
        keys = {read_address(urls[task]).key for task in candidates}
    return candidates if len(keys) == 1 else []


def _whole(row: ImageRow, url: str) -> bool:
    return f"/{read_address(url).path}".endswith(f"/{row.file_name}")


def _last_part(path: str, upload: bool) -> str:
    last = path.split("?", 1)[0].rpartition("/")[2]
    # the server puts eight hex digits before the name of an upload
    return last[9:] if upload and last[8:9] == "-" else last
