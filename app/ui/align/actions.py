"""What the Align tab does: handlers from its controls to what the page draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import gradio as gr

from app.engine import Engine
from app.engine_types import Aligned
from app.ui.align import payload as alignment
from app.ui.align.find import AlignOptions, AlignSession, find, read_phrases
from app.ui.shared import html as render
from app.ui.shared.events import SKIP
from app.ui.shared.permalink import NO_SPAN, NOT_HERE, Link, find_photo, keep_photo
from app.ui.shared.photo import DEMO
from app.ui.shared.stopping import PROGRESS
from app.ui.shared.trouble import Trouble
from detclipv2.assets import CAPTIONS
from detclipv2.language.phrases import Phrase


class AlignOutputs(NamedTuple):
    """The tab's components, or what a handler sets on them; the rest stays as it is.

    Attributes:
        status: the line beside the button.
        view: the inspector.
        session: see `AlignSession`.
    """

    status: Any = SKIP
    view: Any = SKIP
    session: Any = SKIP


@dataclass(frozen=True)
class AlignActions:
    """The tab's handlers."""

    engine: Engine

    def align(
        self,
        photo: str | None,
        caption: str,
        session: AlignSession,
        *settings: Any,
        progress: gr.Progress = PROGRESS,
    ) -> AlignOutputs:
        """Find the caption's phrases and align them."""
        session = AlignSession(photo, caption.strip(), None, session.whole)
        return self._show(session, settings, progress)

    def edit(
        self,
        session: AlignSession,
        matching: str,
        temperature: float,
        ranking: str,
        regions: float,
        event: gr.EventData,
        progress: gr.Progress = PROGRESS,
    ) -> AlignOutputs:
        """Align the phrases as the page's editor left them."""
        try:
            phrases = read_phrases(event._data["phrases"], session.caption)
        except (KeyError, TypeError, ValueError) as error:
            text = f"phrases that cannot be read ({error}); press Align again"
            return _show_trouble(Trouble(text))
        session = replace(session, phrases=phrases, whole=bool(event._data.get("whole", True)))
        return self._show(session, (matching, temperature, ranking, regions), progress)

    def again(
        self, session: AlignSession, *settings: Any, progress: gr.Progress = PROGRESS
    ) -> AlignOutputs:
        """Apply moved settings to what is on screen; nothing before the first alignment."""
        if session.source is None or not (session.caption or session.phrases):
            return AlignOutputs()
        return self._show(session, settings, progress)

    def pick_sample(
        self, index: int, *settings: Any, progress: gr.Progress = PROGRESS
    ) -> Sequence[Any]:
        """A shipped photo with its caption: both, then `AlignOutputs`."""
        name, caption = CAPTIONS[index]
        session = AlignSession(str(DEMO / name), caption)
        return [str(DEMO / name), caption, *self._show(session, settings, progress)]

    def link(
        self,
        session: AlignSession,
        matching: str,
        temperature: float,
        ranking: str,
        regions: float,
        event: gr.EventData,
    ) -> str:
        """The query of a link to what is on screen."""
        assert session.source is not None
        edited = session.phrases
        return Link(
            "align",
            keep_photo(session.source),
            session.caption,
            {
                "matching": matching,
                "temperature": temperature,
                "ranking": ranking,
                "regions": int(regions),
                "whole": session.whole,
            },
            None if edited is None else [(p.text, *(p.span or NO_SPAN)) for p in edited],
            dict(event._data),
        ).query()

    def follow(self, link: Link, _visitor: gr.Request) -> Sequence[Any]:
        """The tab as a link describes it: photo, caption, four settings, `AlignOutputs`."""
        usual, linked = AlignOptions(), link.settings
        settings = (
            str(linked.get("matching", usual.matching)),
            float(linked.get("temperature", usual.temperature)),
            str(linked.get("ranking", usual.ranking)),
            float(linked.get("regions", usual.regions)),
        )
        path = find_photo(link.photo)
        if path is None:
            return [None, link.words, *settings, *_show_trouble(Trouble(NOT_HERE))]
        rows = link.phrases
        phrases = None
        if rows is not None:
            phrases = read_phrases([{"text": t, "span": [a, b]} for t, a, b in rows], link.words)
        session = AlignSession(str(path), link.words, phrases, bool(linked.get("whole", True)))
        shown = self._show(session, settings, None)
        if isinstance(shown.view, dict):
            shown.view["screen"] = link.screen
        return [str(path), link.words, *settings, *shown]

    def _show(
        self, session: AlignSession, settings: Sequence[Any], progress: gr.Progress | None
    ) -> AlignOutputs:
        found = find(self.engine, session, AlignOptions(*settings), progress)
        if isinstance(found, Trouble):
            return _show_trouble(found)
        assert session.source is not None
        preview, _ = self.engine.preview(session.source)
        value = alignment.view(found, preview, self.engine.evidence)
        value["whole"] = session.whole and bool(session.caption)
        return AlignOutputs(
            status=render.status("ok", _summary(found, self.engine.evidence)),
            view=value,
            session=replace(session, phrases=_phrases(value["phrases"])),
        )


def _show_trouble(trouble: Trouble) -> AlignOutputs:
    """An error in place of what was aligned before, which was something else."""
    return AlignOutputs(status=render.status("error", trouble.message), view=None)


def _phrases(rows: Sequence[dict[str, Any]]) -> tuple[Phrase, ...]:
    spans = ((row, row["span"]) for row in rows if not row["whole"])
    return tuple(Phrase(row["text"], span and (span[0], span[1])) for row, span in spans)


def _summary(found: Aligned, evidence: float) -> str:
    here = int(found.alignment.present(evidence).sum())
    total = len(found.alignment.phrases)
    time = f"{1000 * found.seconds:.0f} ms" + ("" if found.image_ran else ", photo remembered")
    return f"{here} of {total} phrases found a region · {time}"
