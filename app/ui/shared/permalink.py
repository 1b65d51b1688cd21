"""A link to what is on screen: the photo by its content, words, thresholds, view.

A link carries no picture. Photos that were linked are kept on the serving machine, under the hash
of their content, and so opens whoever follows it there; the shipped photos are always found.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from detclipv2.assets import demo_photos
from detclipv2.language.embedding_file import default_cache_dir

NOT_HERE = (
    "The photo of this link is not on this machine. Drop it here: the words are filled in already."
)
NO_SPAN = (0, 0)
"""How links say that a phrase is not in its caption."""
VIEWS = ("detect", "align", "browse", "compare", "train")
_KEY = re.compile(r"[0-9a-f]{16}")
_LONGEST = 20_000


class LinkError(ValueError):
    """A link that cannot be followed; the message says why."""


@dataclass(frozen=True)
class Link:
    """What a link restores.

    Attributes:
        view: the tab.
        photo: hash of the photo's content; empty where the state is of no single photo.
        words: prompts, the caption, or the phrase looked for.
        settings: the tab's controls by name; numbers, texts and truths.
        phrases: as edited, each [text, start, end]; None for the caption's own.
        screen: what the inspector shows: thresholds, level, what is kept lit.
    """

    view: str
    photo: str = ""
    words: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    phrases: list[tuple[str, int, int]] | None = None
    screen: dict[str, Any] = field(default_factory=dict)

    def query(self) -> str:
        """The link behind the page's address, "?view=…"."""
        state = asdict(self)
        plain = {name: state.pop(name) for name in ("view", "photo", "words")}
        return "?" + urlencode({**plain, "state": json.dumps(state, separators=(",", ":"))})

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Link | None:
        """The link of a page's query; None where it has none.

        Raises:
            LinkError: a link that is damaged.
        """
        if query.get("view") not in VIEWS:
            return None
        state = query.get("state", "{}")
        key = query.get("photo", "")
        if (key and not _KEY.fullmatch(key)) or len(state) > _LONGEST:
            raise LinkError("this link is damaged; ask for it again")
        try:
            values = json.loads(state)
            phrases = values.get("phrases")
            return cls(
                query["view"],
                key,
                query.get("words", "")[:_LONGEST],
                dict(values.get("settings", {})),
                None if phrases is None else [(str(t), int(a), int(b)) for t, a, b in phrases],
                dict(values.get("screen", {})),
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise LinkError("this link is damaged; ask for it again") from error


def photo_key(content: bytes) -> str:
    """16 hex digits of a photo's content, as the engine names it."""
    return hashlib.sha256(content).hexdigest()[:16]


def keep_photo(source: str | Path, folder: Path | None = None) -> str:
    """Keep a photo for links; gives its key. Shipped photos need no copy."""
    source = Path(source)
    key = photo_key(source.read_bytes())
    if find_photo(key, folder) is None:
        target = _kept_photos(folder) / key / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        shutil.copyfile(source, partial)
        partial.replace(target)
    return key


def find_photo(key: str, folder: Path | None = None) -> Path | None:
    """The photo of a key, if it is here."""
    if not _KEY.fullmatch(key):
        return None
    kept = [p for p in (_kept_photos(folder) / key).glob("*") if p.suffix != ".partial"]
    if kept:
        return kept[0]
    return next((p for p in demo_photos() if photo_key(p.read_bytes()) == key), None)


def _kept_photos(folder: Path | None) -> Path:
    return folder or default_cache_dir() / "linked-photos"
