"""From a photo and a caption to an alignment, for the page and for the endpoint; no gradio here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.engine import Engine
from app.engine_types import Aligned
from app.photo_cache import ReportProgress
from app.ui.shared.trouble import Trouble
from detclipv2.detectors.errors import DetectorError
from detclipv2.inference.alignment import AlignSettings
from detclipv2.inference.images import ImageError
from detclipv2.language.phrases import Phrase, PhraseModelError


@dataclass(frozen=True)
class AlignSession:
    """What one browser tab aligns: the photo's file, the caption, its phrases as edited."""

    source: str | None = None
    caption: str = ""
    phrases: tuple[Phrase, ...] | None = None
    whole: bool = True


@dataclass(frozen=True)
class AlignOptions:
    """How words and regions are compared, as the tab's controls say it; see `AlignSettings`."""

    matching: str = AlignSettings.matching
    temperature: float = AlignSettings.temperature
    ranking: str = AlignSettings.objectness
    regions: float = AlignSettings.regions

    def checked(self) -> AlignSettings:
        """As settings of the model.

        Raises:
            ValueError: one that cannot be used.
        """
        return AlignSettings(
            matching=self.matching,  # type: ignore[arg-type]
            temperature=self.temperature,
            objectness=self.ranking,  # type: ignore[arg-type]
            regions=int(self.regions),
        )


def find(
    engine: Engine,
    session: AlignSession,
    options: AlignOptions,
    progress: ReportProgress | None = None,
) -> Aligned | Trouble:
    """Align the phrases of the session, or say why not."""
    if session.source is None:
        return Trouble("No photo yet. Upload, drop or paste one, or pick a sample.")
    if not session.caption and not session.phrases:
        return Trouble("No caption yet. Type one, e.g. “A red mug beside a kettle”.")
    try:
        return engine.align(
            session.source,
            session.caption if session.phrases is None else session.phrases,
            options.checked(),
            caption=session.caption,
            whole=session.whole,
            progress=progress,
        )
    except (ImageError, DetectorError, PhraseModelError, ValueError) as error:
        return Trouble.of(error)


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
        phrases.append(Phrase(text, (start, end) if stands else None))
    return tuple(phrases)
