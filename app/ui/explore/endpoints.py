"""The Explore tab's named endpoint, for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import gradio as gr

from app.ui.explore.ask import answer, coco_of
from app.ui.explore.indexed_runs import IndexedRuns
from app.ui.shared import api as answers
from app.ui.shared.toasts import refusal
from app.ui.shared.trouble import Trouble


@dataclass(frozen=True)
class Endpoints:
    """/ask."""

    indexed: IndexedRuns

    def ask(
        self, run: str, prompts: str, visitor: gr.Request, threshold: float | None = None
    ) -> answers.Detected:
        """Find the prompts in all photos of an indexed run, without looking at them again.

        Without a threshold it is the one for lists. Returns the boxes as COCO JSON.
        """
        opened = self.indexed.open_of_model(run, visitor)
        if isinstance(opened, Trouble):
            raise refusal(opened.message)
        engine = self.indexed.engine
        least = engine.list_defaults.threshold if threshold is None else threshold
        found = answer(opened, engine, prompts, least)
        if isinstance(found, Trouble):
            raise refusal(found.message)
        return cast(answers.Detected, coco_of(opened, engine, found))
