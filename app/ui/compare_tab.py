"""The Compare tab: two vocabularies, templates or checkpoints on a photo or a folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app.compare import KINDS, Change, Comparison, Side, compare, total
from app.detectors import open_detector
from app.engine import Engine, EngineError, Settings
from app.runs.sources import SourceError, find_images
from app.ui import render, vocabulary_editor
from app.ui.actions import DEMO
from app.ui.events import MODEL, PRIVATE
from app.ui.photo import Photo
from detclipv2.inference.detectors import Detector
from detclipv2.inference.images import ImageError
from detclipv2.language.vocabulary import Vocabulary, VocabularyError

HEADERS = ["photo", "change", "A", "score A", "B", "score B", "move"]
COLOURS = {
    "gained": "#009E73", "lost": "#D55E00", "relabelled": "#E69F00", "moved": "#56B4E9",
    "same": "#BBBBBB",
}  # fmt: skip
_PROGRESS = gr.Progress()
_ROWS = 1000
_EXAMPLE = (
    "astronaut.jpg", "woman, rocket, flag", "person\nrocket: space shuttle\nflag\n!patch", 0.38,
)  # fmt: skip
_LABELLED = 15
"""Changes of a photo that carry their words; the others show them when pointed at."""
Outputs = tuple[Any, ...]


@dataclass(frozen=True)
class Compared:
    """What one browser tab compared, photo by photo."""

    results: tuple[Comparison, ...] = ()


@dataclass
class CompareActions:
    """The tab's handlers. The last other detector stays loaded."""

    engine: Engine
    _other: tuple[str, Detector[Any]] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self, photo: str | None, folder: str, words_a: str, words_b: str, template_a: str,
        template_b: str, model_a: str, model_b: str, threshold: float,
        progress: gr.Progress = _PROGRESS,
    ) -> Iterator[Outputs]:  # fmt: skip
        """Compare, showing what is done so far after every photo; stops when cancelled."""
        try:
            paths = photos(photo, folder)
            progress(0.0, desc="Loading")
            sides = (
                self._side(words_a, template_a, model_a, threshold, "A"),
                self._side(words_b or words_a, template_b, model_b, threshold, "B"),
            )
        except (EngineError, VocabularyError, ValueError) as error:
            yield render.status("error", str(error)), gr.skip(), gr.skip(), gr.skip()
            return
        results: list[Comparison] = []
        for result in compare(paths, *sides):
            results.append(result)
            progress(len(results) / len(paths), desc=f"{len(results)} of {len(paths)} photos")
            yield summary(results, len(paths)), gr.skip(), gr.skip(), Compared(tuple(results))
        shown = picture(results[0])
        yield summary(results, len(paths)), rows(results), shown, Compared(tuple(results))

    def choose(self, compared: Compared, event: gr.SelectData) -> str | Any:
        """The picture of the photo whose row was clicked."""
        name = str(event.row_value[0]) if event.row_value else ""
        found = next((r for r in compared.results if r.path.name == name), None)
        return gr.skip() if found is None else picture(found)

    def api_compare(
        self, photo: str | None, words_a: str, words_b: str, template_a: str = "",
        template_b: str = "", model_a: str = "", model_b: str = "", threshold: float = 0.3,
    ) -> dict[str, Any]:  # fmt: skip
        """Compare two vocabularies, templates or checkpoints on a photo.

        Returns every box of either side with what it is on each, as JSON.
        """
        try:
            paths = photos(photo, "")
            sides = (
                self._side(words_a, template_a, model_a, threshold, "A"),
                self._side(words_b or words_a, template_b, model_b, threshold, "B"),
            )
        except (EngineError, VocabularyError, ValueError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        (result,) = compare(paths, *sides)
        if result.error:
            raise gr.Error(result.error, print_exception=False)
        return {
            "counts": result.counts(),
            "changes": [
                {"kind": c.kind, "box": list(c.box), "before": c.before, "after": c.after}
                for c in result.changes
            ],
        }

    def _side(self, words: str, template: str, model: str, threshold: float, name: str) -> Side:
        if not words.strip():
            raise EngineError(f"side {name} has no words yet; type what to look for")
        try:
            vocabulary = Vocabulary.parse(words)
        except VocabularyError as error:
            raise VocabularyError(f"side {name}, {error}") from error
        return Side(
            self._detector(model.strip()), vocabulary, template.strip() or None,
            Settings(threshold),
        )  # fmt: skip

    def _detector(self, model: str) -> Detector[Any]:
        if model in ("", self.engine.name):
            return self.engine.predictor
        with self._lock:
            if self._other is None or self._other[0] != model:
                self._other = (model, open_detector(model))
            return self._other[1]


def photos(photo: str | None, folder: str) -> list[Path]:
    """The photo, or all photos below the folder.

    Raises:
        EngineError: neither, or no photo there.
    """
    if folder.strip():
        if not Path(folder.strip()).expanduser().is_dir():
            raise EngineError(f"no folder {folder.strip()!r} on the machine that serves this page")
        try:
            return [Path(image.place) for image in find_images([Path(folder.strip()).expanduser()])]
        except SourceError as error:
            raise EngineError(str(error)) from error
    if photo is None:
        raise EngineError(
            "No photo yet. Upload, drop or paste one, name a folder, or try the sample."
        )
    return [Path(photo)]


def rows(results: Sequence[Comparison]) -> list[list[Any]]:
    """The table: one row a change, what did not change left out."""
    found = []
    for result in results:
        for c in result.changes:
            if c.kind == "same":
                continue
            found.append([
                result.path.name, c.kind, c.before[0] if c.before else "", _score(c.before),
                c.after[0] if c.after else "", _score(c.after),
                None if c.move is None else round(c.move, 3),
            ])  # fmt: skip
    return found[:_ROWS]


def summary(results: Sequence[Comparison], photos: int) -> str:
    """Counts so far, and the photos that could not be read."""
    counts = total(results)
    told = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)
    left = "" if len(results) == photos else f" · {len(results)} of {photos} photos"
    failed = [r.error for r in results if r.error]
    changed = sum(counts[kind] for kind in KINDS if kind != "same")
    if not sum(counts.values()) and not failed:
        told = "no boxes on either side; lower the threshold or use other words"
    elif not changed and not failed:
        told += ". Both sides find the same"
    return render.status("hint" if failed else "ok", told + left, failed[:5])


def picture(result: Comparison) -> str:
    """The photo with its changes drawn over it; every word is escaped."""
    if result.error:
        return render.status("error", result.error)
    import base64

    from app.render import encode
    from detclipv2.inference.images import open_image

    try:
        image = open_image(result.path)
    except ImageError as error:
        return render.status("error", str(error))
    width, height = image.size
    image.thumbnail((1280, 1280))
    data = base64.b64encode(encode(image, "JPEG")).decode()
    thick = max(width, height) / 320
    ranked = list(enumerate(result.changes))
    boxes = "".join(_box(c, thick, labelled=i < _LABELLED) for i, c in reversed(ranked))
    legend = "".join(
        f'<span class="tag" style="background:{COLOURS[kind]};color:#000">{count} {kind}</span>'
        for kind, count in result.counts().items()
        if count
    )
    return (
        f'<figure class="changes"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Changes on {escape(result.path.name)}">'
        f'<image href="data:image/jpeg;base64,{data}" width="{width}" height="{height}"/>'
        f"{boxes}</svg><figcaption>{escape(result.path.name)} {legend}</figcaption></figure>"
    )


def _box(change: Change, thick: float, *, labelled: bool) -> str:
    x1, y1, x2, y2 = change.box
    colour, size = COLOURS[change.kind], 9 * thick
    before, after = (_told(entry) for entry in (change.before, change.after))
    words = f"{before} → {after}" if before and after else before or after
    if change.kind == "same" or not labelled:
        label = ""
    else:
        sign = {"gained": "+ ", "lost": "− "}.get(change.kind, "")
        label = (
            f'<text x="{x1 + thick}" y="{max(y1 + size, size)}" font-size="{size:.1f}" '
            f'fill="{colour}" stroke="#000" stroke-width="{thick * 1.6:.1f}" '
            f'paint-order="stroke" font-weight="600">{sign}{escape(words)}</text>'
        )
    dash = f' stroke-dasharray="{4 * thick} {3 * thick}"' if change.kind == "lost" else ""
    shape = f'x="{x1}" y="{y1}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" fill="none"'
    return (
        f'<g class="{change.kind}"><title>{change.kind}: {escape(words)}</title>'
        f'<rect {shape} stroke="#000" stroke-opacity=".5" stroke-width="{2 * thick:.1f}"/>'
        f'<rect {shape} stroke="{colour}" stroke-width="{thick:.1f}"{dash}/>{label}</g>'
    )


def _told(entry: tuple[str, float] | None) -> str:
    return f"{entry[0]} {entry[1]:.2f}" if entry else ""


def _score(entry: tuple[str, float] | None) -> float | None:
    return round(entry[1], 3) if entry else None


def build(engine: Engine, folder: Path) -> None:
    """Lay the tab out inside the current gr.Blocks and connect it to `engine`."""
    compared = gr.State(Compared())
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280):
            photo = Photo(
                label="Photo", type="filepath", sources=["upload", "clipboard"],
                elem_id="compare-photo", elem_classes="small-photo photo-panel",
                show_label=False, buttons=[], alt_text="The photo to compare on",
                placeholder="Drop a photo here\nor click to choose",
            )  # fmt: skip
            place = gr.Textbox(
                label="… or a folder on this machine", elem_id="compare-folder", max_lines=1,
                placeholder="/home/me/photos",
            )  # fmt: skip
            threshold = gr.Slider(
                0, 1, Settings().threshold, step=0.01, label="Threshold",
                elem_id="compare-threshold",
            )  # fmt: skip
        words, templates, models = [], [], []
        for side, hint in (("a", "cup, table"), ("b", "Empty: the words of A")):
            with gr.Column(scale=1, min_width=280):
                words.append(
                    gr.Textbox(
                        label=f"{side.upper()}: what to look for",
                        lines=4,
                        max_lines=10,
                        placeholder=hint,
                        elem_id=f"compare-words-{side}",
                    )
                )
                vocabulary_editor.build(words[-1], f"compare-{side}", folder)
                with gr.Accordion("Template and model", open=False):
                    templates.append(
                        gr.Textbox(
                            "",
                            label="Sentence round the words",
                            max_lines=1,
                            placeholder=engine.predictor.model.config.text.template,
                            elem_id=f"compare-template-{side}",
                        )
                    )
                    models.append(
                        gr.Textbox(
                            "",
                            label="Checkpoint folder or name",
                            max_lines=1,
                            placeholder=engine.name,
                            elem_id=f"compare-model-{side}",
                            info="Ours, or a transformers zero-shot detector's folder.",
                        )
                    )
    with gr.Row():
        button = gr.Button("Compare", variant="primary", elem_id="compare", scale=3)
        cancel = gr.Button("Cancel", elem_id="compare-cancel", scale=1)
        sample = gr.Button("Try the sample", elem_id="compare-sample", scale=1)
    status = gr.HTML(
        render.status("idle", "See what other words, another template or checkpoint change."),
        elem_id="compare-status",
    )
    with gr.Row(equal_height=False, elem_id="compare-results"):
        shown = gr.HTML(elem_id="compare-picture", min_height=60, min_width=320)
        table = gr.Dataframe(
            headers=HEADERS, type="array", interactive=False, elem_id="compare-table",
            datatype=("str", "str", "str", "number", "str", "number", "number"), max_height=460,
            label="Changes (click a row to see its photo)", column_count=7, buttons=["copy"],
        )  # fmt: skip

    actions = CompareActions(engine)
    asked = [*words, *templates, *models, threshold]
    outputs = [status, table, shown, compared]
    _api(actions, photo, asked)
    running: list[Any] = [
        button.click(
            actions.run,
            [photo, place, *asked],
            outputs,
            show_progress_on=[status],
            **MODEL,
            **PRIVATE,
        )
    ]
    running.append(
        sample.click(
            lambda: (str(DEMO / _EXAMPLE[0]), "", *_EXAMPLE[1:]),
            None,
            [photo, place, *words, threshold],
            **PRIVATE,
        ).then(
            actions.run,
            [photo, place, *asked],
            outputs,
            show_progress_on=[status],
            **MODEL,
            **PRIVATE,
        )
    )
    cancel.click(
        lambda: render.status("hint", "Cancelled; what was done is kept."), None, status,
        cancels=running, **PRIVATE,
    ).then(
        lambda c: (rows(c.results), picture(c.results[0]) if c.results else ""), compared,
        [table, shown], **PRIVATE,
    )  # fmt: skip
    table.select(actions.choose, compared, shown, show_progress="hidden", **PRIVATE)


def _api(actions: CompareActions, photo: Photo, asked: list[Any]) -> None:
    """The endpoint /compare for gradio_client."""
    told = gr.JSON(label="changes", visible=False)
    gr.Button(visible=False).click(
        actions.api_compare, [photo, *asked], told, api_name="compare", **MODEL
    )
