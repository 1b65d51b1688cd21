"""Fine-tunings of the same sets side by side, from the folders that train.finetune wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

TUNED = "tuned.json"
"""What a fine-tuning found, in its folder."""


@dataclass(frozen=True)
class Tuned:
    """Figures of one way to fine-tune.

    Attributes:
        sets: AP, AP50 and, where another set was judged, "other_ap50" on the test photos, by set;
            "kept_ap50" and "kept_other_ap50" of the weights that keep a part of those before.
        other: name of the other set; empty for none.
        before: AP50 on it of what all sets began with.
        settings: what tells how it was done.
    """

    sets: dict[str, dict[str, float]]
    other: str
    before: float
    settings: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Keep it in `folder`."""
        text = json.dumps(vars(self), indent=1)
        (folder / TUNED).write_text(text + "\n", encoding="utf-8")


def read_tuned(folder: Path) -> Tuned:
    """What `Tuned.write` left.

    Raises:
        ValueError: the folder holds none, or another kind of file.
    """
    try:
        return Tuned(**json.loads((folder / TUNED).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{folder} has no {TUNED} of train.finetune: {error}") from error


def read_tunings(words: Sequence[str]) -> dict[str, Tuned]:
    """What LABEL=FOLDER words of a command line name.

    Raises:
        ValueError: a word of another form, or a folder without a fine-tuning.
    """
    if wrong := [word for word in words if "=" not in word]:
        raise ValueError(f"--tuned {wrong[0]}: write LABEL=FOLDER")
    pairs = (word.partition("=") for word in words)
    return {label: read_tuned(Path(place)) for label, _, place in pairs}


def tuning_section(ways: Mapping[str, Tuned]) -> str:
    """A Markdown table: a row a set, for each way its AP50 and the other set's after tuning.

    Raises:
        ValueError: the ways were tried on different sets.
    """
    first = next(iter(ways.values()))
    names = list(first.sets)
    if any(list(way.sets) != names for way in ways.values()):
        raise ValueError("the fine-tunings are of different sets; compare those of the same")
    columns: dict[str, Sequence[float]] = {}
    for label, way in ways.items():
        columns[f"{label}: AP50"] = [way.sets[name]["ap50"] for name in names]
        if way.other:
            columns[f"{label}: {way.other} AP50"] = [way.sets[name]["other_ap50"] for name in names]
        for key, title in (("kept_ap50", "AP50"), ("kept_other_ap50", f"{way.other} AP50")):
            if all(key in figures for figures in way.sets.values()):
                columns[f"{label}, kept: {title}"] = [way.sets[name][key] for name in names]
    rows = [[name, *(column[i] for column in columns.values())] for i, name in enumerate(names)]
    rows.append(["mean", *(mean(column) for column in columns.values())])
    lines = [f"| set | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    lines += [f"| {name} | {' | '.join(f'{v:.1f}' for v in values)} |" for name, *values in rows]
    notes = [
        f"- {label}: {', '.join(f'{key} {value}' for key, value in way.settings.items())}"
        + (f"; {way.other} AP50 before {way.before:.1f}" if way.other else "")
        for label, way in ways.items()
    ]
    return "\n".join(["## Fine-tuning", "", *lines, "", *notes])
