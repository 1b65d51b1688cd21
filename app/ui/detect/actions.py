"""What the Detect tab does: handlers from its controls to what the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from app.engine import Engine
from app.engine_types import Result
from app.formats.atomic import write_json
from app.formats.image_kinds import BROWSER_KINDS
from app.ui.detect.drawings import Drawings
from app.ui.detect.find import DetectControls, DetectInputs, coco_of, find
from app.ui.shared import html as render
from app.ui.shared.events import SKIP
from app.ui.shared.permalink import NOT_HERE, Link, find_photo, keep_photo
from app.ui.shared.photo import DEMO
from app.ui.shared.stopping import PROGRESS
from app.ui.shared.toasts import toast
from app.ui.shared.trouble import Trouble
from app.ui.shared.vocabulary_rows import with_thresholds
from detclipv2.datasets.image_kinds import is_kind
from detclipv2.inference.images import ImageError
from detclipv2.language.vocabulary import VocabularyError

SAMPLES = (
    ("astronaut.jpg", "person: woman\nface\nsuit: orange suit @0.25"),
    ("coffee.jpg", "cup: mug, espresso cup @0.4\n!spoon\n!table"),
    ("chelsea.jpg", "cat: kitten"),
    ("rocket.jpg", "rocket: missile @0.5"),
)
"""Shipped photos, each with prompts that show a piece of the syntax."""


@dataclass(frozen=True)
class Session:
    """What one browser tab looks at: the photo's file and the result on screen."""

    source: str | None = None
    result: Result | None = None


class DetectOutputs(NamedTuple):
    """The tab's components, or what a handler sets on them; the rest stays as it is.

    Attributes:
        photo: the panel: the photo, or our drawing of it.
        status: the line beside the button.
        boxes: the table of boxes.
        classes: the table of classes.
        class_column: the column of the latter, seen only with a result.
        results: the part with boxes and downloads, likewise.
        session: see `Session`.
        prompts: the words.
    """

    photo: Any = SKIP
    status: Any = SKIP
    boxes: Any = SKIP
    classes: Any = SKIP
    class_column: Any = SKIP
    results: Any = SKIP
    session: Any = SKIP
    prompts: Any = SKIP


@dataclass(frozen=True)
class Actions:
    """The tab's handlers.

    Args:
        engine: the one engine of this app.
        drawings: where drawn pictures and downloads are written.
    """

    engine: Engine
    drawings: Drawings

    def detect(
        self,
        photo: str | None,
        session: Session,
        prompts: str,
        *controls: Any,
        progress: gr.Progress | None = PROGRESS,
    ) -> DetectOutputs:
        """Find the prompts in the photo and show them."""
        source = self._source(photo, session)
        inputs = DetectInputs(source, prompts, DetectControls(*controls))
        found = find(self.engine, inputs, progress)
        if isinstance(found, Trouble):
            return self._show_trouble(found, photo, source)
        assert source is not None
        return self._show_result(found, source)

    def refilter(self, session: Session, prompts: str, *controls: Any) -> DetectOutputs:
        """Apply moved sliders to the result on screen; does nothing before the first one."""
        if session.source is None or session.result is None or not prompts.strip():
            return DetectOutputs()
        return self.detect(session.source, session, prompts, *controls, progress=None)

    def edit_thresholds(
        self, rows: list[list[Any]], session: Session, prompts: str, *controls: Any
    ) -> DetectOutputs:
        """Write an edited table's thresholds into the prompts, their one home, and apply them."""
        try:
            text = with_thresholds(prompts, rows)
        except VocabularyError as error:
            return self._show_trouble(Trouble.of(error), session.source, session.source)
        shown = self.refilter(session, text, *controls)
        return shown._replace(prompts=text)

    def pick_sample(
        self, index: int, *controls: Any, progress: gr.Progress = PROGRESS
    ) -> DetectOutputs:
        """Show a shipped photo with its own prompts and detect at once."""
        name, prompts = SAMPLES[index]
        photo = str(DEMO / name)
        shown = self.detect(photo, Session(), prompts, *controls, progress=progress)
        return shown._replace(prompts=prompts)

    def new_photo(self, photo: str | None) -> DetectOutputs:
        """Take a new photo: check that it can be read, forget the old boxes."""
        if photo is None:
            return self.clear()
        try:
            preview, (width, height) = self.engine.preview(photo)
        except ImageError as error:
            return _without_boxes(render.status("error", str(error)), Session(), photo=None)
        text = f"Photo ready ({width} x {height} px). Say what to look for and press Detect."
        panel = SKIP if is_kind(photo, BROWSER_KINDS) else self.drawings.plain(preview)
        return _without_boxes(render.status("idle", text), Session(source=photo), photo=panel)

    def clear(self) -> DetectOutputs:
        """The photo was taken away."""
        text = "Upload, drop or paste a photo, or pick a sample."
        return _without_boxes(render.status("idle", text), Session())

    def coco_file(self, session: Session) -> str:
        """The boxes on screen as a COCO JSON file."""
        result, source = _on_screen(session)
        path = self.drawings.folder / result.key / f"{Path(source).stem}.coco.json"
        write_json(path, coco_of(self.engine, source, result))
        return str(path)

    def picture_file(self, session: Session) -> str:
        """The photo in full size with the boxes on screen, as PNG."""
        result, source = _on_screen(session)
        return self.drawings.in_full(source, result)

    def link(self, session: Session, prompts: str, *controls: Any) -> str:
        """The query of a link to what is on screen."""
        _, source = _on_screen(session)
        settings = asdict(DetectControls(*controls).settings(self.engine.defaults))
        return Link("detect", keep_photo(source), prompts, settings).query()

    def follow(self, link: Link, _visitor: gr.Request) -> Sequence[Any]:
        """The tab as a link describes it: the controls, then `DetectOutputs`."""
        usual = DetectControls.of(self.engine.defaults)
        linked = {name: link.settings[name] for name in usual._fields if name in link.settings}
        asked = usual._replace(**linked).settings(self.engine.defaults)
        controls = DetectControls.of(asked)
        path = find_photo(link.photo)
        if path is None:
            shown = DetectOutputs(status=render.status("error", NOT_HERE))
        else:
            shown = self.detect(str(path), Session(), link.words, *controls)
        return [*controls, *shown._replace(prompts=link.words)]

    def _source(self, photo: str | None, session: Session) -> str | None:
        # the panel may show our own drawing of the photo; the photo itself is in the session
        if photo is not None and self.drawings.made(photo):
            return session.source
        return photo

    def _show_result(self, result: Result, source: str) -> DetectOutputs:
        preview, _ = self.engine.preview(source)
        return DetectOutputs(
            photo=self.drawings.boxes(preview, result),
            status=render.summary(result),
            boxes=gr.Dataframe(render.box_rows(result), visible=len(result.detections) > 0),
            classes=render.class_rows(result),
            class_column=gr.Column(visible=True),
            results=gr.Column(visible=True),
            session=Session(source, result),
        )

    def _show_trouble(
        self, trouble: Trouble, panel: str | None, source: str | None
    ) -> DetectOutputs:
        """An error in place of earlier boxes, which were of other words: the plain photo again."""
        photo = SKIP
        if source is not None and source != panel:
            photo = source
            if not is_kind(source, BROWSER_KINDS):
                photo = self.drawings.plain(self.engine.preview(source)[0])
        status = render.status("error", trouble.message)
        return _without_boxes(status, Session(source), photo=photo)


def _without_boxes(status: str, session: Session, *, photo: Any = SKIP) -> DetectOutputs:
    hidden = gr.Column(visible=False)
    return DetectOutputs(
        photo=photo, status=status, classes=[], class_column=hidden, results=hidden, session=session
    )


def _on_screen(session: Session) -> tuple[Result, str]:
    if session.result is None or session.source is None:
        raise toast("Nothing to download yet: press Detect first.")
    return session.result, session.source
