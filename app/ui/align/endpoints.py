"""The Align tab's named endpoint, for programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from app.engine import Engine
from app.ui.align.find import AlignOptions, AlignSession, find
from app.ui.shared import api as answers
from app.ui.shared.toasts import refusal
from app.ui.shared.trouble import Trouble
from detclipv2.inference.alignment import AlignSettings
from detclipv2.language.phrases import Phrase


@dataclass(frozen=True)
class Endpoints:
    """/align.

    Args:
        engine: the one engine of this app.
    """

    engine: Engine

    def align(
        self,
        photo: str | None,
        caption: str,
        phrases: str = "",
        whole: bool = True,
        matching: str = AlignSettings.matching,
        temperature: float = AlignSettings.temperature,
        ranking: str = AlignSettings.objectness,
        regions: float = AlignSettings.regions,
    ) -> answers.Aligned:
        """Align a caption's noun phrases, or phrases given one a line, with a photo's regions.

        Returns the scores with boxes, phrases and evidence as JSON.
        """
        given = tuple(line.strip() for line in phrases.splitlines() if line.strip())
        words = tuple(_placed(text, caption) for text in given) or None
        session = AlignSession(photo, caption, words, whole)
        found = find(self.engine, session, AlignOptions(matching, temperature, ranking, regions))
        if isinstance(found, Trouble):
            raise refusal(found.message)
        answer = found.alignment.to_json()
        for phrase in answer["phrases"]:
            phrase["present"] = phrase["evidence"] >= self.engine.evidence
        answer |= {"least_evidence": self.engine.evidence, "model": self.engine.facts()}
        return cast(answers.Aligned, answer)


def _placed(text: str, caption: str) -> Phrase:
    found = re.search(re.escape(text), caption, re.IGNORECASE)
    return Phrase(found[0], found.span()) if found else Phrase(text)
