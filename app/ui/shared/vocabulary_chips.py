"""The classes that a box of prompts is read as, shown below it while one types; no model runs."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import gradio as gr

from app.ui.shared.events import PRIVATE
from detclipv2.language.unknown_words import unknown_words
from detclipv2.language.vocabulary import Vocabulary, VocabularyError
from detclipv2.language.vocabulary_class import ConceptClass

_MOST = 60
_MOST_ALIASES = 8


def chips(text: str, read: Callable[[str], Vocabulary]) -> str:
    """The classes as HTML, with what is said of them; why not, for words that cannot be read.

    Args:
        text: what stands in the box.
        read: the model's reader, see `Predictor.vocabulary`.
    """
    if not text.strip():
        return ""
    try:
        vocabulary = read(text)
    except VocabularyError as error:
        return f'<p class="reading wrong" role="status">{escape(str(error))}</p>'
    shown = "".join(map(_chip, vocabulary.classes[:_MOST]))
    if (more := len(vocabulary.classes) - _MOST) > 0:
        shown += f"<li>… and {more:,} more</li>"
    count = len(vocabulary.returned)
    label = f"{count:,} class{'' if count == 1 else 'es'}"
    notes = "".join(
        f"<li>{escape(note)}</li>" for note in (*vocabulary.notes, *unknown_words(vocabulary))
    )
    marked = f'<ul class="reading-notes" aria-label="Notes">{notes}</ul>' if notes else ""
    return (
        f'<div class="reading" role="status" aria-live="polite"><span>{label}</span>'
        f'<ul aria-label="Classes as read">{shown}</ul>{marked}</div>'
    )


def _chip(concept: ConceptClass) -> str:
    kind = ' class="negative"' if concept.negative else ""
    parts = [f"<b>{escape(concept.name)}</b>"]
    if concept.negative:
        parts.insert(0, "<i>not</i> ")
    if concept.definition:
        parts.append(f" <i>= {escape(concept.definition)}</i>")
    if concept.aliases:
        more = " …" if len(concept.aliases) > _MOST_ALIASES else ""
        parts.append(f" <i>or {escape(', '.join(concept.aliases[:_MOST_ALIASES]))}{more}</i>")
    if concept.threshold is not None:
        parts.append(f" <i>@{concept.threshold:g}</i>")
    return f"<li{kind}>{''.join(parts)}</li>"


def build(prompts: gr.Textbox, prefix: str, read: Callable[[str], Vocabulary]) -> None:
    """Lay the classes of `prompts` out in the current place; `prefix` begins the element's id."""
    shown = gr.HTML("", elem_id=f"{prefix}-reading", elem_classes="plain", padding=False)
    prompts.change(
        lambda text: chips(text, read),
        prompts,
        shown,
        trigger_mode="always_last",
        show_progress="hidden",
        **PRIVATE,
    )
