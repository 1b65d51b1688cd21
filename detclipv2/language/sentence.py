"""What the text tower reads of a prompt, and when two prompts say the same."""

from __future__ import annotations

import re

_ARTICLE = re.compile(r"^(?:an?|the)\s+(?=\S)")
_DASHES = re.compile(r"[-‐‑‒–—]")
_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})


def prompt_text(template: str, text: str) -> str:
    """The sentence the text tower reads for a prompt; training uses the same.

    Case, runs of spaces, underscores of dataset names and a leading article make no difference:
    "A  red_mug" in "a photo of a {}" gives "a photo of a red mug".
    """
    words = " ".join(text.replace("_", " ").split()).lower()
    return template.replace("{}", _ARTICLE.sub("", words))


def reads_as(text: str) -> str:
    """Equal for prompts that the tower reads alike: "person", "a  Person"."""
    return prompt_text("{}", text).casefold()


def same_words(text: str) -> str:
    """Equal for prompts that say the same: `reads_as`, and "T-shirt", "t shirt."."""
    words = reads_as(_DASHES.sub(" ", text).translate(_QUOTES)).rstrip(" .!?")
    return words or reads_as(text)
