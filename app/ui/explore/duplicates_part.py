"""Near-duplicates: photos that show the same, before anybody labels them twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from app.formats.atomic import write_bytes
from app.labelstudio.api.connection import Connection
from app.ui.explore.cards import MOST, OPEN_JS, card
from app.ui.explore.duplicates import Duplicates, as_csv, duplicates
from app.ui.explore.indexed_runs import IndexedRun, IndexedRuns
from app.ui.explore.panel import panel
from app.ui.shared import html as render
from app.ui.shared.events import LONG, PRIVATE
from app.ui.shared.photo import cache_folder
from app.ui.shared.reading import Reader
from app.ui.shared.toasts import toast
from app.ui.shared.trouble import Trouble

_MOST_OF_GROUP = 6


class DuplicatesOutputs(NamedTuple):
    """What is said, and the groups."""

    status: str
    groups: str = ""


@dataclass(frozen=True)
class DuplicatesActions:
    """The part's handlers.

    Args:
        indexed: the runs.
        downloads: where lists are written; inside gradio's cache, which it empties.
    """

    indexed: IndexedRuns
    downloads: Path

    def find(
        self, run: str | None, connection: Connection | None, visitor: gr.Request
    ) -> DuplicatesOutputs:
        """Find the groups."""
        opened = self.indexed.open(run, visitor)
        if isinstance(opened, Trouble):
            return DuplicatesOutputs(render.status("error", opened.message))
        found = duplicates(opened)
        if isinstance(found, Trouble):
            return DuplicatesOutputs(render.status("error", found.message))
        if not found.groups:
            words = f"No near-duplicates among {found.photos:,} photos"
            return DuplicatesOutputs(render.status("ok", words))
        words = (
            f"{len(found.groups):,} groups: {found.spare:,} of {found.photos:,} photos show what "
            "another one shows"
        )
        lines = ["Of each group the largest photo is proposed to be kept."]
        if len(found.groups) > MOST:
            lines.append(f"The {MOST} largest groups are shown; the list has all of them.")
        reader = self.indexed.reader(connection, visitor)
        return DuplicatesOutputs(
            render.status("ok", words, lines), _groups(opened, self.indexed, found, reader)
        )

    def list(self, run: str | None, visitor: gr.Request) -> str:
        """All groups as a file."""
        opened = self.indexed.open(run, visitor)
        found = opened if isinstance(opened, Trouble) else duplicates(opened)
        if isinstance(found, Trouble) or isinstance(opened, Trouble):
            raise toast(found.message if isinstance(found, Trouble) else "no run")
        content = as_csv(found.groups, opened.names()).encode("utf-8")
        folder = self.downloads / hashlib.sha256(content).hexdigest()[:16]
        write_bytes(folder / "near-duplicates.csv", content)
        return str(folder / "near-duplicates.csv")


def _groups(indexed: IndexedRun, runs: IndexedRuns, found: Duplicates, read: Reader) -> str:
    shown = []
    for number, group in enumerate(found.groups[:MOST], 1):
        cards = []
        for image in group.images[:_MOST_OF_GROUP]:
            row = indexed.rows[image]
            proposal = "spare" if image in group.spare else "keep"
            width, height = row.size
            note = f"{proposal} · {width} × {height}"
            picture = runs.pictures.photo(row, read)
            kept = proposal == "keep"
            cards.append(card(picture, row.file_name, note, [], (image, None), marked=kept))
        head = f"Group {number}: {len(group.images):,} photos"
        head += ", some mirrored" if group.mirrored else ""
        head += f"; {len(cards)} shown" if len(cards) < len(group.images) else ""
        shown.append(
            f'<section aria-label="{head}"><h4>{head}</h4>'
            f'<div class="cards explore-cards small">{"".join(cards)}</div></section>'
        )
    return "".join(shown)


def build(indexed: IndexedRuns, run: gr.Dropdown, connection: gr.State) -> gr.HTML:
    """Lay the part out; returns its gallery."""
    actions = DuplicatesActions(indexed, cache_folder() / "duplicates")
    with gr.Row():
        find = gr.Button("Find near-duplicates", variant="primary", elem_id="dup-find", scale=3)
        save = gr.Button("Download the list (CSV)", elem_id="dup-list", scale=2)
        file = gr.DownloadButton(elem_id="dup-file", elem_classes="hidden-part")
    status = gr.HTML(
        render.status("idle", "Copies, crops, mirror images and neighbouring frames are found."),
        elem_id="dup-status",
        elem_classes="plain",
    )
    groups = panel("dup-groups", OPEN_JS)
    shown: list[Any] = list(DuplicatesOutputs(status, groups))  # type: ignore[arg-type]
    find.click(actions.find, [run, connection], shown, **LONG, **PRIVATE)
    save.click(actions.list, run, file, **LONG, **PRIVATE).success(
        None, js=render.click_on("dup-file"), **PRIVATE
    )
    return groups
