"""The Browse tab: every photo of a captioned data set with its alignments, the worst first."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app import coco
from app.browse.job import BrowseJob, known_runs, run_of
from app.browse.store import ORDERS, AlignedPhoto, BrowseRun, Filter
from app.engine import Engine
from app.render import PALETTE, text_colour_on
from app.ui import render
from app.ui.align_tab import AlignParts
from app.ui.events import MODEL, PRIVATE
from app.ui.photo import cache_folder
from detclipv2.captions import Captioned
from detclipv2.inference.images import ImageError, open_image

PAGE = 12
_THUMB = 260
_OPEN = """
element.addEventListener("click", (event) => {
  const card = event.target.closest("[data-photo]");
  if (card) trigger("open", { photo: Number(card.dataset.photo) });
});
"""
Outputs = tuple[Any, ...]


@dataclass
class BrowseActions:
    """The tab's handlers. One data set is aligned at a time, for all visitors."""

    engine: Engine
    _job: BrowseJob | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, source: str) -> Outputs:
        """Begin to align a data set, or go on with it: status, the run's folder, the timer."""
        path = Path(source.strip()).expanduser()
        if not source.strip():
            return self._say("Name a data set: a folder or file on the machine that serves this.")
        if not path.exists():
            return self._say(f"no file or folder {source.strip()!r}; check the path")
        with self._lock:
            if self._job is not None and self._job.running:
                return self._say(
                    "Another data set is being aligned; cancel it or wait for its end."
                )
            run = run_of(path, self.engine.fingerprint)
            self._job = BrowseJob(run, path, self.engine.predictor, self.engine.name)
            self._job.start()
        return self.status(str(run.folder)), str(run.folder), gr.Timer(active=True)

    def cancel(self, folder: str) -> str:
        """Stop the job; what is done is kept, and the same data set goes on from there."""
        if self._job is not None:
            self._job.cancel()
            self._job.join(10)
        return self.status(folder)

    def choose(self, folder: str | None) -> Outputs:
        """Show a run made earlier."""
        if not folder:
            return gr.skip(), gr.skip(), gr.skip()
        return self.status(folder), folder, gr.Timer(active=True)

    def earlier(self) -> Any:
        """The runs that are there, for the list."""
        found = []
        for run in known_runs():
            about, counts = run.about, run.counts()
            if about is not None:
                words = f"{about.source} · {counts.total} captions · {about.model}"
                found.append((words, str(run.folder)))
        return gr.Dropdown(choices=found)

    def tick(self, folder: str) -> tuple[str, Any]:
        """The status while a job runs; the timer rests once it is over."""
        return self.status(folder), gr.Timer(active=self._at_work(folder))

    def status(self, folder: str) -> str:
        """How far the run in `folder` is."""
        if not folder:
            return render.status(
                "idle", "Every photo of a captioned data set, worst aligned first."
            )
        run = BrowseRun(Path(folder))
        counts, about, job = run.counts(), run.about, self._job
        mine = job is not None and job.run.folder == run.folder
        lines = [
            f"{n} left out: {reason}" for reason, n in (about.left_out if about else {}).items()
        ]
        for number, what in ((counts.failed, "could not be read"), (counts.empty, "name nothing")):
            if number:
                lines.append(f"{number} captions: {what}")
        done = f"{counts.total - counts.pending:,} of {counts.total:,} captions"
        if mine and job and job.error:
            return render.status("error", f"{done}. It ended early: {job.error}", lines)
        if mine and job and job.running:
            told = "Reading the data set" if about is None else done
            if job.rate > 0:
                left = counts.pending / job.rate
                wait = f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
                told += f" · about {wait} left"
            return _bar(told, 1 - counts.pending / max(1, counts.total))
        kind: render.Kind = "ok" if counts.pending == 0 else "hint"
        rest = "" if counts.pending == 0 else ". Stopped; press Align all to go on"
        return render.status(kind, done + rest, lines)

    def show(
        self, folder: str, phrase: str, most: float, missing: bool, least: float, order: str,
        page: float,
    ) -> Outputs:  # fmt: skip
        """A page of the gallery, its place among the pages, and the page's number."""
        if not folder:
            return gr.skip(), gr.skip(), gr.skip()
        chosen = Filter(phrase, None if most >= _ANY else most, least, missing)
        number = max(1, int(page or 1))
        run = BrowseRun(Path(folder))
        rows, total = run.find(chosen, order, offset=PAGE * (number - 1), limit=PAGE)  # type: ignore[arg-type]
        pages = max(1, -(-total // PAGE))
        if number > pages:
            return self.show(folder, phrase, most, missing, least, order, pages)
        told = f"{total:,} captions · page {number} of {pages:,}"
        return cards(rows, least), f'<p class="label">{told}</p>', number

    def open(self, folder: str, event: gr.EventData) -> Outputs:
        """A card's photo and caption into the Align tab."""
        try:
            found = BrowseRun(Path(folder)).get(int(event._data["photo"]))
            content = found.photo.read()
            content = content.read_bytes() if isinstance(content, Path) else content
        except (KeyError, TypeError, ValueError, OSError):
            return gr.skip(), gr.skip(), gr.skip()
        # gradio serves files of its own cache only
        name = hashlib.sha256(content).hexdigest()[:16]
        path = cache_folder() / name / (Path(found.photo.name.split(": ")[-1]).stem + ".img")
        coco.write_bytes(path, content)
        return str(path), found.photo.caption, gr.Tabs(selected="align")

    def vocabulary(self, folder: str, least: float) -> list[list[Any]]:
        """The data set's noun phrases with their counts."""
        if not folder:
            return []
        rows = BrowseRun(Path(folder)).vocabulary(least)
        return [[text, count, round(gone, 3), round(mean, 3)] for text, count, gone, mean in rows]

    def as_prompts(self, rows: list[list[Any]], top: float) -> Outputs:
        """The most frequent phrases as the Detect tab's prompts."""
        from detclipv2.language.vocabulary import Vocabulary

        names = [str(row[0]) for row in rows[: int(top)] if str(row[0]).strip()]
        if not names:
            return gr.skip(), gr.skip()
        return Vocabulary.of(names).serialise(), gr.Tabs(selected="detect")

    def _at_work(self, folder: str) -> bool:
        job = self._job
        return job is not None and job.running and str(job.run.folder) == folder

    @staticmethod
    def _say(text: str) -> Outputs:
        return render.status("error", text), gr.skip(), gr.skip()


_ANY = 6.0
"""The top of the slider: photos of any evidence."""


def _bar(text: str, share: float) -> str:
    return (
        f'<div class="status ok" role="status"><span>{escape(text)}</span>'
        f'<progress max="1" value="{share:.3f}"></progress></div>'
    )


def cards(photos: list[AlignedPhoto], least: float) -> str:
    """The gallery; every word is escaped."""
    if not photos:
        return render.status("hint", "No photo passes the filter.")
    return '<div class="cards">' + "".join(_card(photo, least) for photo in photos) + "</div>"


def _card(found: AlignedPhoto, least: float) -> str:
    data = _thumbnail(found.photo)
    picture = f'<image href="{data}" width="100%" height="100%"/>'
    if not data:
        picture = '<text x="8" y="24">the file is gone</text>'
    width, height = (max(1, side) for side in found.size)
    shapes, words = [], []
    for index, phrase in enumerate(found.phrases):
        colour, here = PALETTE[index % len(PALETTE)], phrase.evidence >= least
        x1, y1, x2, y2 = phrase.box
        if here:
            shapes.append(
                f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" '
                f'fill="none" stroke="{colour}" stroke-width="{max(width, height) / 110:.1f}"/>'
            )
        style = (
            f"background:{colour};color:{text_colour_on(colour)};border-color:{colour}"
            if here else f"border:1px dashed {colour}"
        )  # fmt: skip
        gone = "" if here else " not-here"
        words.append(
            f'<span class="tag{gone}" style="{style}" title="evidence {phrase.evidence:.2f}">'
            f"{escape(phrase.text)} {phrase.evidence:+.1f}</span>"
        )
    return (
        f'<button class="card" data-photo="{found.id}" title="Open in Align">'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(found.photo.name)}">'
        f"{picture}{''.join(shapes)}</svg><p>{escape(found.photo.caption)}</p>"
        f"<div>{''.join(words)}</div><small>{escape(found.photo.name)} · mean evidence "
        f"{found.evidence:.2f}</small></button>"
    )


@lru_cache(maxsize=600)
def _thumbnail(photo: Captioned) -> str:
    """A small copy as a data address, empty where the photo cannot be read; kept, since filters
    show the same photos again and again."""
    try:
        image = open_image(photo.read())
    except (ImageError, OSError):
        return ""
    image.thumbnail((_THUMB, _THUMB))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def build(engine: Engine, prompts: gr.Textbox, align: AlignParts, tabs: gr.Tabs) -> None:
    """Lay the tab out; `prompts` is the Detect tab's, `align` the Align tab's parts."""
    actions = BrowseActions(engine)
    folder = gr.State("")
    with gr.Row(equal_height=True):
        source = gr.Textbox(
            label="Data set with captions (folder or file on this machine)", scale=4, max_lines=1,
            elem_id="browse-source", placeholder="/data/flickr8k/captions.json",
            info="COCO captions, Flickr8k, .tsv, webdataset .tar, or a .txt beside each photo.",
        )  # fmt: skip
        earlier = gr.Dropdown(
            [], label="… or one aligned earlier", scale=3, elem_id="browse-earlier", value=None
        )
    with gr.Row():
        start = gr.Button("Align all", variant="primary", elem_id="browse-start", scale=3)
        cancel = gr.Button("Cancel", elem_id="browse-cancel", scale=1)
    status = gr.HTML(actions.status(""), elem_id="browse-status")
    with gr.Row(elem_id="browse-filter"):
        phrase = gr.Textbox(label="Phrase", placeholder="dog", elem_id="browse-phrase", max_lines=1)
        most = gr.Slider(
            -4, _ANY, _ANY, step=0.1, label="Mean evidence at most", elem_id="browse-most"
        )
        least = gr.Slider(
            -3, 3, engine.evidence, step=0.01, label="A region needs evidence",
            elem_id="browse-least",
        )  # fmt: skip
        order = gr.Dropdown(list(ORDERS), value="worst", label="First", elem_id="browse-order")
    with gr.Row(elem_id="browse-pages"):
        missing = gr.Checkbox(
            label="Only with a phrase without a region", elem_id="browse-missing", container=False
        )
        place = gr.HTML("", elem_id="browse-place")
        back = gr.Button("‹ Back", elem_id="browse-back", size="sm", min_width=60)
        page = gr.Number(1, precision=0, minimum=1, label="Page", elem_id="browse-page",
                         min_width=80, container=False)  # fmt: skip
        onward = gr.Button("Next ›", elem_id="browse-next", size="sm", min_width=60)
    gallery = gr.HTML(elem_id="browse-gallery", js_on_load=_OPEN, apply_default_css=False)
    with gr.Accordion("Noun phrases of the data set", open=False, elem_id="browse-words") as words:
        table = gr.Dataframe(
            headers=["phrase", "captions", "share without a region", "mean evidence"],
            datatype=("str", "number", "number", "number"), type="array", interactive=False,
            elem_id="browse-table", max_height=360, show_label=False, buttons=["copy"],
        )  # fmt: skip
        with gr.Row():
            top = gr.Slider(1, 300, 30, step=1, label="The most frequent", elem_id="browse-top")
            use = gr.Button("Detect these: make them the prompts", elem_id="browse-use")
    timer = gr.Timer(1.5, active=False)

    filters = [folder, phrase, most, missing, least, order, page]
    shown = [gallery, place, page]
    quiet: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}

    def from_the_start(folder: str, *values: Any) -> Outputs:
        first_page = (*values[:-1], 1)
        return actions.show(folder, *first_page)

    for began in (
        gr.on(
            [start.click, source.submit], actions.start, source, [status, folder, timer], **quiet
        ),
        earlier.input(actions.choose, earlier, [status, folder, timer], **quiet),
    ):
        began.then(from_the_start, filters, shown, **quiet)
    cancel.click(actions.cancel, folder, status, **quiet).then(
        actions.show, filters, shown, **quiet
    )
    timer.tick(actions.tick, folder, [status, timer], **quiet).then(
        actions.show, filters, shown, **quiet
    )
    gr.on(
        [phrase.change, most.release, missing.input, least.release, order.input],
        from_the_start, filters, shown, trigger_mode="always_last", **quiet,
    )  # fmt: skip
    page.submit(actions.show, filters, shown, **quiet)
    back.click(lambda n: max(1, int(n) - 1), page, page, **quiet).then(
        actions.show, filters, shown, **quiet
    )
    onward.click(lambda n: int(n) + 1, page, page, **quiet).then(
        actions.show, filters, shown, **quiet
    )
    words.expand(actions.vocabulary, [folder, least], table, **quiet)
    use.click(actions.as_prompts, [table, top], [prompts, tabs], **quiet)
    gallery.open(actions.open, folder, [align.photo, align.caption, tabs], **quiet).then(
        align.run, align.inputs, align.shown, **MODEL, **PRIVATE
    )
    gr.on([earlier.focus], actions.earlier, None, earlier, **quiet)
