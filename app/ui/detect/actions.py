"""What the Detect tab does: handlers from a photo and words to what the page shows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gradio as gr

from app.engine import Engine
from app.engine_types import Result, Settings
from app.formats import coco
from app.formats.drawing import PAGE_LABELS, draw, encode
from app.photo_cache import open_photo
from app.ui import api as answers
from app.ui.shared import html as render
from app.ui.shared.permalink import NOT_HERE, Link, find_photo, keep_photo
from app.ui.shared.stopping import PROGRESS
from app.ui.shared.toasts import refusal, toast
from app.ui.shared.vocabulary_rows import with_thresholds
from detclipv2.assets import FOLDER
from detclipv2.detectors.errors import DetectorError
from detclipv2.inference.images import ImageError
from detclipv2.language.vocabulary import VocabularyError

if TYPE_CHECKING:
    from PIL import Image

DEMO = FOLDER / "demo"

SAMPLES = (
    ("astronaut.jpg", "person: woman\nface\nsuit: orange suit @0.25"),
    ("coffee.jpg", "cup: mug, espresso cup @0.4\n!spoon\n!table"),
    ("chelsea.jpg", "cat: kitten"),
    ("rocket.jpg", "rocket: missile @0.5"),
)
"""Shipped photos, each with prompts that show a piece of the syntax."""

_BROWSER_SHOWS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif"}
_TROUBLE = (ImageError, VocabularyError, DetectorError)


Outputs = tuple[Any, ...]


@dataclass(frozen=True)
class Session:
    """What one browser tab looks at: the photo's file and the result on screen."""

    source: str | None = None
    result: Result | None = None


@dataclass(frozen=True)
class Actions:
    """The tab's handlers; most return photo, status, both tables, their columns and the session.

    Args:
        engine: the one engine of this app.
        folder: where drawn pictures and downloads go; inside gradio's cache, which it empties.
    """

    engine: Engine
    folder: Path

    def detect(
        self,
        photo: str | None,
        session: Session,
        prompts: str,
        threshold: float,
        nms_iou: float,
        max_boxes: float,
        tiles: int,
        progress: gr.Progress = PROGRESS,
    ) -> Outputs:
        """Find the prompts in the photo and show them."""
        source = self._source(photo, session)
        try:
            settings = Settings(threshold, nms_iou, int(max_boxes), int(tiles))
            result = self._find(source, prompts, settings, progress)
        except _TROUBLE as error:
            return self._failed(photo, source, str(error))
        assert source is not None
        return self._show(source, result)

    def refilter(
        self,
        session: Session,
        prompts: str,
        threshold: float,
        nms_iou: float,
        max_boxes: float,
        tiles: int,
    ) -> Outputs:
        """Apply moved sliders to the result on screen; does nothing before the first one."""
        if session.source is None or session.result is None or not prompts.strip():
            return self._same()
        return self.detect(session.source, session, prompts, threshold, nms_iou, max_boxes, tiles)

    def edit_thresholds(
        self,
        rows: list[list[Any]],
        session: Session,
        prompts: str,
        threshold: float,
        nms_iou: float,
        max_boxes: float,
        tiles: int,
    ) -> Outputs:
        """Write an edited table's thresholds into the prompts, their one home, and apply them."""
        try:
            text = with_thresholds(prompts, rows)
        except VocabularyError as error:
            return (*self._failed(session.source, session.source, str(error)), gr.skip())
        return (*self.refilter(session, text, threshold, nms_iou, max_boxes, tiles), text)

    def pick_sample(
        self,
        index: int,
        threshold: float,
        nms_iou: float,
        max_boxes: float,
        tiles: int,
        progress: gr.Progress = PROGRESS,
    ) -> Outputs:
        """Show a shipped photo with its own prompts and detect at once."""
        name, prompts = SAMPLES[index]
        outputs = self.detect(
            str(DEMO / name), Session(), prompts, threshold, nms_iou, max_boxes, tiles, progress
        )
        return (*outputs, prompts)

    def new_photo(self, photo: str | None) -> Outputs:
        """Take a new photo: check that it can be read, forget the old boxes."""
        if photo is None:
            return self.clear()
        try:
            preview, (width, height) = self.engine.look(photo)
        except ImageError as error:
            return (None, render.status("error", str(error)), *self._nothing(Session()))
        shown = gr.skip() if _browser_shows(photo) else self._copy(preview)
        text = f"Photo ready ({width} x {height} px). Say what to look for and press Detect."
        return (shown, render.status("idle", text), *self._nothing(Session(source=photo)))

    def clear(self) -> Outputs:
        """The photo was taken away."""
        text = "Upload, drop or paste a photo, or pick a sample."
        return (gr.skip(), render.status("idle", text), *self._nothing(Session()))

    def coco_file(self, session: Session) -> str:
        """The boxes on screen as a COCO JSON file."""
        result, source = self._on_screen(session)
        info = self.engine.describe(result.vocabulary, result.settings)
        dataset = coco.CocoDataset(result.vocabulary.names, info)
        dataset.add(Path(source).name, result.size, result.detections)
        path = self.folder / result.key / f"{Path(source).stem}.coco.json"
        coco.write_json(path, dataset.to_dict())
        return str(path)

    def picture_file(self, session: Session) -> str:
        """The photo in full size with the boxes on screen, as PNG."""
        result, source = self._on_screen(session)
        picture = encode(draw(open_photo(source), result.detections), "PNG")
        return str(self._file(picture, f"{Path(source).stem}.boxes.png"))

    def link(
        self,
        session: Session,
        prompts: str,
        threshold: float,
        nms_iou: float,
        max_boxes: float,
        tiles: int,
    ) -> str:
        """The query of a link to what is on screen."""
        _, source = self._on_screen(session)
        settings = {
            "threshold": threshold,
            "nms_iou": nms_iou,
            "max_boxes": int(max_boxes),
            "tiles": int(tiles),
        }
        return Link("detect", keep_photo(source), prompts, settings).query()

    def follow(self, link: Link, _visitor: gr.Request) -> Outputs:
        """The tab as a link describes it: prompts, settings, and what `detect` gives."""
        told = link.settings
        sliders = (
            float(told.get("threshold", 0.3)),
            float(told.get("nms_iou", 0.6)),
            float(told.get("max_boxes", 100)),
            int(told.get("tiles", 1)),
        )
        path = find_photo(link.photo)
        if path is None:
            return (link.words, *sliders, *self._say(NOT_HERE))
        return (link.words, *sliders, *self.detect(str(path), Session(), link.words, *sliders))

    def api_detect(
        self,
        photo: str | None,
        prompts: str,
        threshold: float = 0.3,
        nms_iou: float = 0.6,
        max_boxes: float = 100,
        tiles: int = 1,
    ) -> tuple[answers.Detected, str]:
        """Find the prompts in a photo, with tiles > 1 also in so many tiles along its long side.

        Returns the boxes as COCO JSON and the drawn picture.
        """
        try:
            settings = Settings(threshold, nms_iou, int(max_boxes), int(tiles))
            result = self._find(photo, prompts, settings)
        except _TROUBLE as error:
            raise refusal(error) from error
        info = self.engine.describe(result.vocabulary, result.settings)
        dataset = coco.CocoDataset(result.vocabulary.names, info)
        dataset.add(Path(str(photo)).name, result.size, result.detections)
        return cast(answers.Detected, dataset.to_dict()), self.picture_file(Session(photo, result))

    def api_info(self) -> answers.Model:
        """The model behind this page: name, checkpoint, image size, measured speed."""
        return cast(answers.Model, self.engine.facts())

    def _find(
        self,
        source: str | None,
        prompts: str,
        settings: Settings,
        progress: gr.Progress | None = None,
    ) -> Result:
        if not prompts.strip():
            raise DetectorError("No words yet. Type what to look for, e.g. “cat, a red mug”.")
        if source is None:
            raise DetectorError("No photo yet. Upload, drop or paste one, or pick a sample.")
        return self.engine.detect(source, prompts, settings, progress=progress)

    def _source(self, photo: str | None, session: Session) -> str | None:
        # the panel may show our own drawing of the photo; the photo itself is in the session
        if photo is not None and self.folder in Path(photo).parents:
            return session.source
        return photo

    def _show(self, source: str, result: Result) -> Outputs:
        preview, _ = self.engine.look(source)
        scaled = result.scaled_to(preview.size)
        drawn = self._file(encode(draw(preview, scaled, PAGE_LABELS), "JPEG"), "boxes.jpg")
        return (
            str(drawn),
            render.summary(result),
            gr.Dataframe(render.box_rows(result), visible=len(result.detections) > 0),
            render.class_rows(result),
            gr.Column(visible=True),
            gr.Column(visible=True),
            Session(source, result),
        )

    def _say(self, text: str) -> Outputs:
        photo, _, *others = self._same()
        return (photo, render.status("error", text), *others)

    def _failed(self, panel: str | None, source: str | None, text: str) -> Outputs:
        """An error in place of earlier boxes, which were of other words: the plain photo again."""
        shown: Any = gr.skip()
        if source is not None and source != panel:
            shown = source if _browser_shows(source) else self._copy(self.engine.look(source)[0])
        return (shown, render.status("error", text), *self._nothing(Session(source)))

    def _copy(self, preview: Image.Image) -> str:
        return str(self._file(encode(preview, "JPEG"), "photo.jpg"))

    @staticmethod
    def _same() -> Outputs:
        return tuple(gr.skip() for _ in range(7))

    @staticmethod
    def _nothing(session: Session) -> Outputs:
        hidden = gr.Column(visible=False)
        return (gr.skip(), [], hidden, hidden, session)

    def _file(self, content: bytes, name: str) -> Path:
        path = self.folder / hashlib.sha256(content).hexdigest()[:16] / name
        if not path.exists():
            coco.write_bytes(path, content)
        return path

    @staticmethod
    def _on_screen(session: Session) -> tuple[Result, str]:
        if session.result is None or session.source is None:
            raise toast("Nothing to download yet: press Detect first.")
        return session.result, session.source


def _browser_shows(photo: str) -> bool:
    return Path(photo).suffix.lower() in _BROWSER_SHOWS
