"""What the Align tab does: from a photo, a caption and edited phrases to what the page draws."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import gradio as gr

from app.engine import Engine
from app.engine_types import Aligned
from app.ui import api as answers
from app.ui.align import payload as alignment
from app.ui.detect.actions import DEMO
from app.ui.shared import html as render
from app.ui.shared.permalink import NOT_HERE, Link, find_photo, keep_photo
from app.ui.shared.stopping import PROGRESS
from app.ui.shared.toasts import refusal
from detclipv2.assets import CAPTIONS
from detclipv2.detectors.errors import DetectorError
from detclipv2.inference.alignment import AlignSettings
from detclipv2.inference.images import ImageError
from detclipv2.language.phrases import Phrase, PhraseModelError

_TROUBLE = (ImageError, DetectorError, PhraseModelError, ValueError)
Outputs = tuple[Any, ...]


@dataclass(frozen=True)
class Looking:
    """What one browser tab aligns: the photo's file, the caption, its phrases as edited."""

    source: str | None = None
    caption: str = ""
    phrases: tuple[Phrase, ...] | None = None
    whole: bool = True


@dataclass(frozen=True)
class AlignActions:
    """The tab's handlers; they return the status, the inspector's value and the session."""

    engine: Engine

    def align(
        self,
        photo: str | None,
        caption: str,
        session: Looking,
        *settings: Any,
        progress: gr.Progress = PROGRESS,
    ) -> Outputs:
        """Find the caption's phrases and align them."""
        looking = Looking(photo, caption.strip(), None, session.whole)
        return self._show(looking, settings, progress)

    def edit(
        self,
        session: Looking,
        matching: str,
        temperature: float,
        ranking: str,
        regions: float,
        event: gr.EventData,
        progress: gr.Progress = PROGRESS,
    ) -> Outputs:
        """Align the phrases as the page's editor left them."""
        try:
            phrases = read_phrases(event._data["phrases"], session.caption)
        except (KeyError, TypeError, ValueError) as error:
            return self._say(f"phrases that cannot be read ({error}); press Align again")
        looking = replace(session, phrases=phrases, whole=bool(event._data.get("whole", True)))
        return self._show(looking, (matching, temperature, ranking, regions), progress)

    def again(self, session: Looking, *settings: Any, progress: gr.Progress = PROGRESS) -> Outputs:
        """Apply moved settings to what is on screen; nothing before the first alignment."""
        if session.source is None or not (session.caption or session.phrases):
            return gr.skip(), gr.skip(), gr.skip()
        return self._show(session, settings, progress)

    def pick_sample(self, index: int, *settings: Any, progress: gr.Progress = PROGRESS) -> Outputs:
        """A shipped photo with its caption."""
        name, caption = CAPTIONS[index]
        looking = Looking(str(DEMO / name), caption)
        return (str(DEMO / name), caption, *self._show(looking, settings, progress))

    def link(
        self,
        session: Looking,
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
            None if edited is None else [(p.text, p.start, p.end) for p in edited],
            dict(event._data),
        ).query()

    def follow(self, link: Link, _visitor: gr.Request) -> Outputs:
        """The tab as a link describes it: photo, caption, the four settings, status, view,
        session."""
        told = link.settings
        settings = (
            str(told.get("matching", "max")),
            float(told.get("temperature", 0.1)),
            str(told.get("ranking", "text_batch")),
            float(told.get("regions", 100)),
        )
        path = find_photo(link.photo)
        if path is None:
            return (None, link.words, *settings, *self._say(NOT_HERE))
        rows = link.phrases
        phrases = None
        if rows is not None:
            phrases = read_phrases([{"text": t, "span": [a, b]} for t, a, b in rows], link.words)
        looking = Looking(str(path), link.words, phrases, bool(told.get("whole", True)))
        status, value, session = self._show(looking, settings, None)
        if isinstance(value, dict):
            value["screen"] = link.screen
        return (str(path), link.words, *settings, status, value, session)

    def api_align(
        self,
        photo: str | None,
        caption: str,
        phrases: str = "",
        whole: bool = True,
        matching: str = "max",
        temperature: float = 0.1,
        ranking: str = "text_batch",
        regions: float = 100,
    ) -> answers.Aligned:
        """Align a caption's noun phrases, or phrases given one a line, with a photo's regions.

        Returns the scores with boxes, phrases and evidence as JSON.
        """
        if photo is None:
            raise refusal("No photo yet: pass one.")
        given = tuple(line.strip() for line in phrases.splitlines() if line.strip())
        words = tuple(_placed(text, caption) for text in given) or None
        try:
            settings = _settings(matching, temperature, ranking, regions)
            found = self.engine.align(
                photo, caption if words is None else words, settings, caption=caption, whole=whole
            )
        except _TROUBLE as error:
            raise refusal(error) from error
        told = found.alignment.to_json()
        for phrase in told["phrases"]:
            phrase["present"] = phrase["evidence"] >= self.engine.evidence
        told |= {"least_evidence": self.engine.evidence, "model": self.engine.facts()}
        return cast(answers.Aligned, told)

    def _show(
        self, looking: Looking, settings: Sequence[Any], progress: gr.Progress | None
    ) -> Outputs:
        if looking.source is None:
            return self._say("No photo yet. Upload, drop or paste one, or pick a sample.")
        if not looking.caption and not looking.phrases:
            return self._say("No caption yet. Type one, e.g. “A red mug beside a kettle”.")
        try:
            chosen = _settings(*settings)
            found = self.engine.align(
                looking.source,
                looking.caption if looking.phrases is None else looking.phrases,
                chosen,
                caption=looking.caption,
                whole=looking.whole,
                progress=progress,
            )
        except _TROUBLE as error:
            return self._say(str(error))
        preview, _ = self.engine.look(looking.source)
        value = alignment.view(found, preview, self.engine.evidence)
        value["whole"] = looking.whole and bool(looking.caption)
        shown = replace(looking, phrases=_phrases(value["phrases"]))
        return render.status("ok", _summary(found, self.engine.evidence)), value, shown

    @staticmethod
    def _say(text: str) -> Outputs:
        """An error in place of what was aligned before, which was something else."""
        return render.status("error", text), None, gr.skip()


def read_phrases(rows: Any, caption: str) -> tuple[Phrase, ...]:
    """The phrases of the page's editor, rows of "text" and "span".

    A span counts only where the words really stand.

    Raises:
        ValueError: a phrase without words, or rows that the editor does not make.
    """
    phrases = []
    for row in rows if isinstance(rows, list) else [rows]:
        try:
            text, (start, end) = " ".join(row["text"].split()), map(int, row.get("span") or (0, 0))
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"{row!r:.80} is no phrase with its place in the caption") from error
        if not text:
            raise ValueError("a phrase is empty")
        stands = 0 <= start < end <= len(caption) and caption[start:end] == row["text"]
        phrases.append(Phrase(text, start, end) if stands else Phrase(text, 0, 0))
    return tuple(phrases)


def _phrases(rows: Sequence[dict[str, Any]]) -> tuple[Phrase, ...]:
    return tuple(Phrase(row["text"], *(row["span"] or (0, 0))) for row in rows if not row["whole"])


def _placed(text: str, caption: str) -> Phrase:
    found = re.search(re.escape(text), caption, re.IGNORECASE)
    return Phrase(found[0], *found.span()) if found else Phrase(text, 0, 0)


def _settings(matching: str, temperature: float, ranking: str, regions: float) -> AlignSettings:
    return AlignSettings(
        matching=matching,  # type: ignore[arg-type]
        temperature=temperature,
        objectness=ranking,  # type: ignore[arg-type]
        regions=int(regions),
    )


def _summary(found: Aligned, evidence: float) -> str:
    here = int(found.alignment.present(evidence).sum())
    total = len(found.alignment.phrases)
    time = f"{1000 * found.seconds:.0f} ms" + ("" if found.image_ran else ", photo remembered")
    return f"{here} of {total} phrases found a region · {time}"
