"""Groups of photos that show the same, and a list of which to keep; no gradio here."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.index.duplicates import Group, find_duplicates
from app.ui.explore.indexed_runs import IndexedRun
from app.ui.shared.trouble import TROUBLE, Trouble


@dataclass(frozen=True)
class Duplicates:
    """Groups, the first photo of each is to be kept, and how many photos were compared."""

    groups: Sequence[Group]
    photos: int

    @property
    def spare(self) -> int:
        """Photos that need no labels of their own."""
        return sum(len(group.spare) for group in self.groups)


def duplicates(indexed: IndexedRun) -> Duplicates | Trouble:
    """The run's near-duplicates, among the photos that it has."""
    try:
        found = find_duplicates(indexed.index)
    except TROUBLE as error:
        return Trouble.of(error)
    known = indexed.rows
    return Duplicates(
        [group for group in found if all(image in known for image in group.images)],
        len(indexed.photos),
    )


def as_csv(groups: Iterable[Group], names: Mapping[int, str]) -> str:
    """A line a photo: the group's number, the file's name, whether to keep it."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["group", "file_name", "proposal", "mirrored"])
    for number, group in enumerate(groups, 1):
        for image in group.images:
            proposal = "spare" if image in group.spare else "keep"
            writer.writerow([number, names[image], proposal, "yes" if group.mirrored else "no"])
    return text.getvalue()
