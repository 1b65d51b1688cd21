"""Which task each image of a run belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.labelstudio.images import Address, read_address
from app.runs.records import ImageRow


@dataclass(frozen=True)
class Matching:
    """What belongs together.

    Attributes:
        pairs: image and task, no task twice, in the order of the images.
        unmatched: names of images that have no task.
        by_name: how many of the pairs nothing but the image's name speaks for.
    """

    pairs: list[tuple[ImageRow, int]]
    unmatched: tuple[str, ...]
    by_name: int


def match_tasks(
    rows: Iterable[ImageRow], urls: Mapping[int, str], document_root: Path | None = None,
    digests: Mapping[str, list[int]] | None = None,
) -> Matching:  # fmt: skip
    """Give every image its tasks.

    The task the image came from; else tasks whose data has the digest of its content, as our
    uploads have; else the same address, or file below the document root; else, without a document
    root, the only task whose address ends like the image's name, if no other image has a better
    claim to it. Folders that both sides name have to agree, and a task that tells another digest
    is never guessed at. Of doubled tasks each gets the boxes.

    Args:
        rows: images of a run.
        urls: task → the address of its image.
        document_root: LOCAL_FILES_DOCUMENT_ROOT, for runs over files below it.
        digests: SHA-256 of an image's content → tasks.
    """
    root = None if document_root is None else document_root.resolve()
    digests = digests or {}
    told = {task for tasks in digests.values() for task in tasks}
    addresses = {task: read_address(url) for task, url in urls.items()}
    by_key: dict[str, list[int]] = {}
    by_name: dict[str, list[int]] = {}
    for task, address in addresses.items():
        by_key.setdefault(address.key, []).append(task)
        if task not in told:
            by_name.setdefault(_path(address)[-1], []).append(task)
    images: list[ImageRow] = []
    owner: dict[int, ImageRow] = {}
    guesses: dict[int, list[ImageRow]] = {}
    for row in rows:
        images.append(row)
        # On another server the number is another task's.
        same = [row.task] if row.task is not None and urls.get(row.task) == row.place else []
        found = same or digests.get(row.sha256 or "", []) or by_key.get(_key(row, root), [])
        for task in found:
            owner.setdefault(task, row)  # two copies of one image show the same
        if not found and root is None:
            name = row.file_name.rpartition("/")[2]
            candidates = {task: addresses[task] for task in by_name.get(name, ())}
            for task in _ending(row, candidates):
                guesses.setdefault(task, []).append(row)
    sure = len(owner)
    for task, claimants in guesses.items():
        best = _best(claimants, addresses[task])
        if best is not None:
            owner.setdefault(task, best)
    pairs = sorted(((row, task) for task, row in owner.items()), key=lambda p: (p[0].id, p[1]))
    shown = {row.sha256 for row in owner.values()}
    unmatched = tuple(row.file_name for row in images if row.sha256 not in shown)
    return Matching(pairs, unmatched, len(owner) - sure)


def _key(row: ImageRow, root: Path | None) -> str:
    if root is not None and row.member is None and Path(row.place).is_relative_to(root):
        return f"local file:{Path(row.place).relative_to(root).as_posix()}"
    return read_address(row.place).key


def _ending(row: ImageRow, candidates: Mapping[int, Address]) -> list[int]:
    """Tasks of the one image that agrees in most folders; none when several do."""
    depths = {task: _agree(row, address) for task, address in candidates.items()}
    most = max(depths.values(), default=0)
    chosen = [task for task, depth in depths.items() if depth == most > 0]
    return chosen if len({candidates[task].key for task in chosen}) == 1 else []


def _best(claimants: Sequence[ImageRow], address: Address) -> ImageRow | None:
    """The image a task is about: the one that agrees in most folders; of several, none."""
    most = max(_agree(row, address) for row in claimants)
    chosen = [row for row in claimants if _agree(row, address) == most]
    return chosen[0] if len({row.sha256 for row in chosen}) == 1 else None


def _agree(row: ImageRow, address: Address) -> int:
    """How many folders and names agree, counted from the end; 0 when one differs that both have."""
    ours, theirs = row.file_name.split("/"), _path(address)
    both = min(len(ours), len(theirs))
    return both if ours[-both:] == theirs[-both:] else 0


def _path(address: Address) -> list[str]:
    """Folders and name of an image, of an upload without what the server puts before it."""
    parts = address.file_name.split("/")
    if address.kind == "upload":
        last = parts[-1]
        return [last[9:] if last[8:9] == "-" else last]
    return parts
