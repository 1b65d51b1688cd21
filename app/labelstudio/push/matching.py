"""Which image of which task each image of a run is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from app.labelstudio.api.addresses import Address, read_address
from app.runs.records import ImageRow


class TaskImage(NamedTuple):
    """One image of a task: which tag shows it, and its place where that is a list."""

    task: int
    image: str = ""
    item: int | None = None


@dataclass(frozen=True)
class Matching:
    """What belongs together.

    Attributes:
        pairs: image and slot, no slot twice, in the order of the images.
        unmatched: names of images that have no task.
        by_name: how many of the pairs nothing but the image's name speaks for.
    """

    pairs: list[tuple[ImageRow, TaskImage]]
    unmatched: tuple[str, ...]
    by_name: int


def match_tasks(
    rows: Iterable[ImageRow],
    urls: Mapping[TaskImage, str],
    document_root: Path | None = None,
    digests: Mapping[str, list[TaskImage]] | None = None,
) -> Matching:
    """Give every image its tasks.

    The task the image came from; else tasks whose data has the digest of its content, as our
    uploads have; else the same address, or file below the document root; else, without a document
    root, the only task whose address ends like the image's name, if no other image has a better
    claim to it. Folders that both sides name have to agree, and a task that has another digest
    is never guessed at. Of doubled tasks each gets the boxes.

    Args:
        rows: images of a run.
        urls: slot → the address of its image.
        document_root: LOCAL_FILES_DOCUMENT_ROOT, for runs over files below it.
        digests: SHA-256 of an image's content → slots.
    """
    root = None if document_root is None else document_root.resolve()
    digests = digests or {}
    with_digest = {slot for slots in digests.values() for slot in slots}
    addresses = {slot: read_address(url) for slot, url in urls.items()}
    by_task: dict[int, list[TaskImage]] = {}
    by_key: dict[str, list[TaskImage]] = {}
    by_name: dict[str, list[TaskImage]] = {}
    for slot, address in addresses.items():
        by_task.setdefault(slot.task, []).append(slot)
        by_key.setdefault(address.key, []).append(slot)
        if slot not in with_digest:
            by_name.setdefault(_path(address)[-1], []).append(slot)
    images: list[ImageRow] = []
    owner: dict[TaskImage, ImageRow] = {}
    guesses: dict[TaskImage, list[ImageRow]] = {}
    for row in rows:
        images.append(row)
        # On another server the number is another task's.
        own = by_task.get(row.task, ()) if row.task is not None else ()
        same = [slot for slot in own if urls[slot] == row.place]
        found = same or digests.get(row.sha256 or "", []) or by_key.get(_key(row, root), [])
        for slot in found:
            owner.setdefault(slot, row)  # two copies of one image show the same
        if not found and root is None:
            name = row.file_name.rpartition("/")[2]
            candidates = {slot: addresses[slot] for slot in by_name.get(name, ())}
            for slot in _ending(row, candidates):
                guesses.setdefault(slot, []).append(row)
    sure = len(owner)
    for slot, claimants in guesses.items():
        best = _best(claimants, addresses[slot])
        if best is not None:
            owner.setdefault(slot, best)
    pairs = sorted(
        ((row, slot) for slot, row in owner.items()),
        key=lambda pair: (pair[0].id, pair[1].task, pair[1].image, pair[1].item or 0),
    )
    shown = {row.sha256 for row in owner.values()}
    unmatched = tuple(row.file_name for row in images if row.sha256 not in shown)
    return Matching(pairs, unmatched, len(owner) - sure)


def _key(row: ImageRow, root: Path | None) -> str:
    if root is not None and row.member is None and Path(row.place).is_relative_to(root):
        return f"local file:{Path(row.place).relative_to(root).as_posix()}"
    return read_address(row.place).key


def _ending(row: ImageRow, candidates: Mapping[TaskImage, Address]) -> list[TaskImage]:
    """Tasks of the one image that agrees in most folders; none when several do."""
    depths = {slot: _agree(row, address) for slot, address in candidates.items()}
    most = max(depths.values(), default=0)
    chosen = [slot for slot, depth in depths.items() if depth == most > 0]
    return chosen if len({candidates[slot].key for slot in chosen}) == 1 else []


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
