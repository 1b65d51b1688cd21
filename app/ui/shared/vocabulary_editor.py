"""A vocabulary as a table beside its text: aliases, thresholds, negatives, definitions, files.

The text is the vocabulary's one home; the table is read from it and written back into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.formats.atomic import write_bytes
from app.formats.vocabulary_files import SUFFIXES, read_vocabulary
from app.ui.shared import html as render
from app.ui.shared.events import PRIVATE
from app.ui.shared.toasts import toast
from app.ui.shared.vocabulary_rows import from_rows, to_rows
from detclipv2.language.vocabulary import Vocabulary, VocabularyError

HEADERS = ["class", "also called", "threshold", "negative", "definition", "the dictionary says"]
_MOST_ROWS = 1500


@dataclass(frozen=True)
class VocabularyActions:
    """The editor's handlers.

    Args:
        folder: where saved vocabularies are written for the download.
    """

    folder: Path

    def open(self, text: str) -> tuple[Any, str]:
        """The text as table rows."""
        if not text.strip():
            return [], render.status("idle", "No classes yet: import a file, or type some above.")
        try:
            rows = to_rows(Vocabulary.parse(text))
        except VocabularyError as error:
            return gr.skip(), render.status("error", str(error))
        return rows[:_MOST_ROWS], render.status("idle", f"{len(rows)} classes")

    def edit(self, rows: list[list[Any]], text: str) -> tuple[Any, str]:
        """The text that an edited table stands for."""
        try:
            count = len(Vocabulary.parse(text).classes) if text.strip() else 0
            if count > _MOST_ROWS:
                raise VocabularyError(f"{count} classes are too many for the table; edit the text")
            written = from_rows(rows).serialise()
        except VocabularyError as error:
            return gr.skip(), render.status("error", str(error))
        return written, render.status("idle", f"{len(Vocabulary.parse(written).classes)} classes")

    def define(self, text: str) -> tuple[Any, Any, str]:
        """Give every class without a definition the dictionary's."""
        try:
            rows = to_rows(Vocabulary.parse(text))
            for row in rows:
                row[4] = row[4] or row[5]
            written = from_rows(rows)
        except VocabularyError as error:
            return gr.skip(), gr.skip(), render.status("error", str(error))
        count = sum(bool(concept.definition) for concept in written.classes)
        message = (
            f"{count} of {len(written.classes)} classes have a definition; it is part of the prompt"
        )
        return written.serialise(), to_rows(written)[:_MOST_ROWS], render.status("idle", message)

    def load(self, file: str | None) -> tuple[Any, Any, str]:
        """A vocabulary from a file, in the text's place."""
        if file is None:
            return gr.skip(), gr.skip(), gr.skip()
        try:
            vocabulary = read_vocabulary(file)
        except VocabularyError as error:
            return gr.skip(), gr.skip(), render.status("error", str(error))
        message = f"{len(vocabulary.classes)} classes from {Path(file).name}"
        status = render.status("ok", message, vocabulary.notes)
        return vocabulary.serialise(), to_rows(vocabulary)[:_MOST_ROWS], status

    def save(self, text: str) -> str:
        """The text as a file."""
        try:
            vocabulary = Vocabulary.parse(text)
        except VocabularyError as error:
            raise toast(error) from error
        path = self.folder / vocabulary.hash / "vocabulary.txt"
        write_bytes(path, (vocabulary.serialise() + "\n").encode())
        return str(path)


def build(prompts: gr.Textbox, prefix: str, folder: Path, lead: str = "") -> None:
    """Lay the editor of `prompts` out in the current place.

    `prefix` begins its elements' ids, `lead` its label.
    """
    actions = VocabularyActions(folder)
    with gr.Accordion(
        f"{lead}Edit as a table · import · save", open=False, elem_id=f"{prefix}-editor"
    ) as panel:
        table = gr.Dataframe(
            headers=HEADERS,
            datatype=("str", "str", "number", "bool", "str", "str"),
            type="array",
            interactive=True,
            static_columns=[5],
            elem_id=f"{prefix}-table",
            max_height=300,
            show_label=False,
            column_count=6,
            buttons=[],
            column_widths=["120px", "130px", "104px", "112px", "220px", "260px"],
        )
        with gr.Row():
            upload = gr.UploadButton(
                "Import a file", file_types=list(SUFFIXES), elem_id=f"{prefix}-import", size="sm"
            )
            define = gr.Button(
                "Add the dictionary's definitions", elem_id=f"{prefix}-define", size="sm"
            )
            save = gr.Button("Save", elem_id=f"{prefix}-save", size="sm")
            file = gr.DownloadButton(elem_id=f"{prefix}-file", elem_classes="hidden-part")
        message = gr.HTML(
            render.status("idle", "Import: text, .csv, COCO or LVIS .json, YOLO, Label Studio"),
            elem_id=f"{prefix}-editor-status",
        )
    quiet: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
    gr.on([panel.expand, prompts.blur], actions.open, prompts, [table, message], **quiet)
    table.input(actions.edit, [table, prompts], [prompts, message], **quiet)
    upload.upload(actions.load, upload, [prompts, table, message], **quiet)
    define.click(actions.define, prompts, [prompts, table, message], **quiet)
    save.click(actions.save, prompts, file, **PRIVATE).success(
        None, js=render.click_on(f"{prefix}-file"), **PRIVATE
    )
