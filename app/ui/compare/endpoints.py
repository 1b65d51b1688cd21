"""The Compare tab's named endpoint, for programs."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from app.comparison import compare
from app.ui.compare.find import CompareInputs, Detectors, prepare
from app.ui.shared import api as answers
from app.ui.shared.access import Access
from app.ui.shared.toasts import refusal
from app.ui.shared.trouble import Trouble
from detclipv2.serving import DEFAULTS, Looks


@dataclass(frozen=True)
class Endpoints:
    """/compare.

    Args:
        detectors: what can be compared.
        access: what visitors may name.
    """

    detectors: Detectors
    access: Access

    def compare(
        self,
        photo: str | None,
        words_a: str,
        words_b: str,
        visitor: gr.Request,
        template_a: str = "",
        template_b: str = "",
        model_a: str = "",
        model_b: str = "",
        looks_a: Looks = DEFAULTS.looks,
        looks_b: Looks = DEFAULTS.looks,
        threshold: float = DEFAULTS.threshold,
    ) -> answers.Compared:
        """Compare two vocabularies, templates, checkpoints or looks on a photo.

        Returns every box of either side with what it is on each, as JSON.
        """
        inputs = CompareInputs(
            photo,
            "",
            (words_a, words_b),
            (template_a, template_b),
            (model_a, model_b),
            (looks_a, looks_b),
            threshold,
        )
        prepared = prepare(self.detectors, inputs, self.access.permissions(visitor))
        if isinstance(prepared, Trouble):
            raise refusal(prepared.message)
        (result,) = compare(prepared.paths, *prepared.sides)
        if result.error:
            raise refusal(result.error)
        return {
            "counts": {str(kind): number for kind, number in result.counts().items()},
            "changes": [
                {
                    "kind": c.kind,
                    "box": list(c.box),
                    "before": _named(c.before),
                    "after": _named(c.after),
                }
                for c in result.changes
            ],
        }


def _named(entry: tuple[str, float] | None) -> answers.Named | None:
    return {"name": entry[0], "score": entry[1]} if entry else None
