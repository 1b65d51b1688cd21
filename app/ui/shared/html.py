"""Results as HTML and table rows. Every word of a user passes through `escape` on its way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Literal

from app.formats.drawing import colour_of, text_colour_on

if TYPE_CHECKING:
    from app.engine import Engine
    from app.engine_types import ClassReport, Result

Kind = Literal["idle", "ok", "hint", "error"]

BOX_HEADERS = ["class", "score", "x1", "y1", "x2", "y2"]
CLASS_HEADERS = ["class", "threshold", "boxes", "best score"]
_MOST_NAMED = 12


def header(engine: Engine) -> str:
    """The page's head: what this is, and the model in one line."""
    facts = "".join(
        f'<span class="chip"><i>{label}</i> {escape(value)}</span>'
        for label, value in (
            ("model", engine.name),
            ("checkpoint", engine.checkpoint),
            ("speed", speed(engine)),
        )
    )
    return (
        '<div id="head"><div><h1>DetCLIPv2</h1>'
        "<p>Name anything in a photo, get its boxes.</p></div>"
        f'<div id="model-line">{facts}</div></div>'
    )


def speed(engine: Engine) -> str:
    """How long a photo takes here, in words."""
    if engine.milliseconds is None:
        return f"not measured, {engine.pixels}"
    return f"{engine.milliseconds:.0f} ms/photo at {engine.pixels}"


def duration(seconds: float) -> str:
    """Seconds in words people use."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def status(kind: Kind, headline: str, lines: Iterable[str] = ()) -> str:
    """The line beside the button: plain text in, escaped HTML out."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    more = f"<ul>{items}</ul>" if items else ""
    return (
        f'<div class="status {kind}" role="status" aria-live="polite">'
        f"<span>{escape(headline)}</span>{more}</div>"
    )


def bar(done: int, total: int) -> str:
    """How far a job is."""
    return f'<progress class="bar" max="{max(1, total)}" value="{done}"></progress>'


def summary(result: Result) -> str:
    """What was found, or what to do when nothing was."""
    found = len(result.detections)
    if found == 0:
        return nothing_found(result)
    named = sorted(enumerate(result.classes), key=lambda entry: -entry[1].boxes)[:_MOST_NAMED]
    counts = "".join(
        f'<span class="tag" style="background:{colour_of(index)};'
        f'color:{text_colour_on(colour_of(index))}">{escape(c.name)} {c.boxes}</span>'
        for index, c in named
        if c.boxes
    )
    time = f"{1000 * result.seconds:.0f} ms" + ("" if result.image_ran else ", photo remembered")
    plural = "box" if found == 1 else "boxes"
    silent = [c for c in result.classes if not c.boxes]
    missing = ""
    if silent:
        missing = f"<p>Below their threshold: {_best_scores(silent)}.</p>"
    return (
        '<div class="status ok" role="status" aria-live="polite">'
        f"<span>{found} {plural} · {time}</span><div>{counts}</div>{missing}"
        f"{_own_thresholds(result.classes)}</div>"
    )


def _own_thresholds(classes: Sequence[ClassReport]) -> str:
    """Which classes the slider does not move, since they have a threshold of their own."""
    own = [c for c in classes if c.threshold is not None]
    if not own:
        return ""
    if len(own) == len(classes):
        return "<p>Every class has its own @ threshold, so the slider moves none.</p>"
    named = ", ".join(f"{escape(c.name)} @{c.threshold:g}" for c in own[:_MOST_NAMED])
    more = f" and {len(own) - _MOST_NAMED} more" if len(own) > _MOST_NAMED else ""
    return f"<p>The slider does not move {named}{more}.</p>"


def nothing_found(result: Result) -> str:
    """The best score of every prompt, and the threshold that would show it."""
    seen = [c for c in result.classes if c.best is not None]
    if not seen:
        return status(
            "hint",
            "Nothing found: the model proposes no box for these words in this photo. "
            "Try plainer words (“cup” for “demitasse”), a synonym (cup: mug, tumbler), "
            "or remove distractors (!…).",
        )
    lines = []
    for c in sorted(seen, key=lambda c: -(c.best or 0.0))[:_MOST_NAMED]:
        where = "its own @ threshold" if c.threshold is not None else "the threshold"
        at = shows_at(c.best)
        advice = (
            f"shown when {where} is {at:.2f}" if at else "far below any threshold worth setting"
        )
        lines.append(f"{c.name}: best score {c.best:.3f}, {advice}")
    if len(seen) > _MOST_NAMED:
        lines.append(f"… and {len(seen) - _MOST_NAMED} more, all lower")
    if not any(shows_at(c.best) for c in seen):
        return status("hint", "Nothing in this photo is like these words. Try others.", lines)
    return status("hint", "Nothing above the threshold. Lower it, or use other words.", lines)


def shows_at(best: float | None) -> float:
    """The highest threshold in steps of 0.01 that still lets a box of score `best` through."""
    return max(0.0, math.floor((best or 0.0) * 100 + 1e-6) / 100)


def _best_scores(classes: Iterable[object]) -> str:
    shown = list(classes)
    words = []
    for c in shown[:_MOST_NAMED]:
        best = getattr(c, "best", None)
        score = "no box" if best is None else f"best {best:.2f}"
        words.append(f"<b>{escape(str(getattr(c, 'name', '')))}</b> ({score})")
    if len(shown) > _MOST_NAMED:
        words.append(f"{len(shown) - _MOST_NAMED} more")
    return ", ".join(words)


def box_rows(result: Result) -> list[list[str | float]]:
    """One row a box, best first; corners in whole pixels of the original."""
    detections = result.detections
    if detections.confidence is None:
        return []
    return [
        [str(name), round(float(score), 3), *(round(float(value)) for value in box)]
        for name, score, box in zip(
            detections.data["class_name"], detections.confidence, detections.xyxy, strict=True
        )
    ]


def class_rows(result: Result) -> list[list[str | float | None]]:
    """One row a class: its own threshold (None: the slider's), boxes shown, best score seen."""
    return [
        [c.name, c.threshold, c.boxes, None if c.best is None else round(c.best, 3)]
        for c in result.classes
    ]


def click_on(elem_id: str) -> str:
    """JavaScript that follows a download button once its file is there."""
    selector = f"#{elem_id} a, a#{elem_id}, #{elem_id}"
    return f"() => setTimeout(() => document.querySelector('{selector}').click(), 50)"
