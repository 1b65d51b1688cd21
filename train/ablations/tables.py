"""The rows of the paper's Tables 2 to 5, 12 and 13, and two of our own: figures and settings.

A row turns the base experiment of a preset into its own by changing named streams ("detection",
"grounding", "pairs", "tags"). Figures are the paper's: fixed AP on LVIS minival, zero-shot, of
Swin-T unless a row says L; Tables 2 and 12 are of O365+CC3M.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from detclipv2.learning.proposals import OBJECTNESS
from train.ablations.changes import chain, model, pairs, quality, resolution, run, serving
from train.ablations.row import Paper, Row
from train.tasks.pairs_config import PairsConfig


def _ap(ap: float, *parts: float, **cost: float) -> Paper:
    return Paper(ap, (parts[0], parts[1], parts[2]) if parts else None, **cost)


def _objectness() -> list[Row]:
    figures = (
        _ap(28.4, 26.6, 28.2, 28.8),
        _ap(30.1, 30.0, 30.1, 30.2),
        _ap(30.2, 28.4, 30.6, 30.1),
        _ap(29.6, 24.9, 29.5, 30.5),
        _ap(31.3, 29.4, 31.7, 31.3),
        _ap(30.9, 30.2, 31.1, 30.8),
    )
    rows = []
    for kind, paper in zip(OBJECTNESS, figures, strict=True):
        change = pairs(objectness=kind)
        if kind in ("foreground", "iou"):
            change = chain(quality, change)
        rows.append(Row(f"2a/{kind}", paper, _unless(kind, "text_batch", "2a/"), change=change))
    return rows


def _values(table: str, key: str, field: str, best: str, figures: dict[str, Paper]) -> list[Row]:
    return [
        Row(
            f"{table}/{key}={text}",
            paper,
            _unless(text, best, f"{table}/{key}="),
            change=pairs(**{field: type(getattr(PairsConfig, field))(text)}),
        )
        for text, paper in figures.items()
    ]


def _unless(one: str, best: str, prefix: str) -> str:
    return "" if one == best else prefix + best


_BEST = (31.3, 29.4, 31.7, 31.3)
_O365 = _ap(28.6, 24.2, 27.1, 30.6)
_FULL = ("O365", "GoldG", "CC15M")
_TYPES = (*_FULL, "IN1k")
_NO_DEFORM = model(deformable=False)

ROWS: tuple[Row, ...] = (
    *_objectness(),
    # 39.5 as printed; an AP of 29.8 rather fits 29.5.
    Row(
        "2b/largest",
        _ap(29.8, 28.5, 39.5, 30.4, memory=19.8),
        "2b/max",
        change=pairs(region="largest"),
    ),
    Row("2b/max", _ap(*_BEST, memory=20.6), change=pairs(matching="max")),
    Row(
        "2b/softmax",
        _ap(30.9, 31.3, 30.7, 31.1, memory=26.0),
        "2b/max",
        change=pairs(matching="softmax"),
    ),
    Row("2c/text_to_image", _ap(*_BEST), change=pairs(side="text_to_image")),
    Row(
        "2c/image_to_text",
        _ap(29.8, 30.0, 29.7, 29.9),
        "2c/text_to_image",
        change=pairs(side="image_to_text"),
    ),
    Row("2c/both", _ap(30.9, 30.0, 31.5, 30.5), "2c/text_to_image", change=pairs(side="both")),
    *_values(
        "2d",
        "k",
        "k",
        "100",
        {
            "25": _ap(30.6, 29.9, 30.5, 30.8),
            "50": _ap(30.8, 30.2, 30.6, 31.0),
            "100": _ap(*_BEST),
            "200": _ap(30.8, 29.4, 30.6, 31.1),
        },
    ),
    *_values(
        "2e",
        "tau",
        "temperature",
        "0.5",
        {
            "1": _ap(30.1, 28.4, 30.3, 30.3),
            "0.5": _ap(*_BEST),
            "0.15": _ap(30.8, 29.6, 31.0, 30.9),
            "0.07": _ap(29.2, 27.5, 29.0, 29.6),
        },
    ),
    *_values(
        "2f",
        "lambda",
        "weight",
        "0.1",
        {
            "0.03": _ap(30.5, 29.6, 30.0, 31.0),
            "0.1": _ap(*_BEST),
            "0.3": _ap(30.9, 29.4, 31.5, 30.7),
            "1": _ap(28.9, 27.7, 28.8, 29.3),
        },
    ),
    Row(
        "3/O365 without deform",
        _ap(28.8, 26.0, 28.0, 30.0, seconds=0.925),
        "3/O365",
        ("O365",),
        _NO_DEFORM,
    ),
    Row("3/O365", replace(_O365, seconds=1.075), data=("O365",)),
    Row(
        "3/O365+GoldG+CC3M without deform",
        _ap(37.3, 34.1, 36.9, 38.2, seconds=0.980),
        "3/O365+GoldG+CC3M",
        ("O365", "GoldG", "CC3M"),
        _NO_DEFORM,
    ),
    Row(
        "3/O365+GoldG+CC3M",
        _ap(38.4, 36.7, 37.9, 39.1, seconds=1.092),
        data=("O365", "GoldG", "CC3M"),
    ),
    Row("4/O365", _O365, "4/O365+GoldG+CC15M", ("O365",)),
    Row("4/O365+CC3M", _ap(*_BEST), "4/O365+GoldG+CC15M", ("O365", "CC3M")),
    Row(
        "4/O365+GoldG+CC3M",
        _ap(38.4, 36.7, 37.9, 39.1),
        "4/O365+GoldG+CC15M",
        ("O365", "GoldG", "CC3M"),
    ),
    Row("4/O365+GoldG+CC15M", _ap(40.4, 36.0, 41.7, 40.0), data=_FULL),
    Row("5/GLIP-T", Paper(hours=7400, fps=1.6), change=None),
    Row("5/DetCLIP-T", Paper(hours=2000, fps=4.1), change=None),
    Row("5/DetCLIPv2-T", Paper(hours=2100, fps=25.7), data=_FULL),
    Row("12/224", _ap(30.5, memory=14.1, hours=697.6), "12/320", change=resolution(224)),
    Row("12/256", _ap(30.5, memory=16.0, hours=729.6), "12/320", change=resolution(256)),
    Row("12/320", _ap(31.3, memory=20.7, hours=793.6), change=resolution(320)),
    Row("12/384", _ap(31.5, memory=24.2, hours=876.8), "12/320", change=resolution(384)),
    Row("13/T O365", _O365, data=("O365",)),
    Row("13/T O365+IN1k", _ap(30.4, 32.2, 29.4, 30.9), "13/T O365", ("O365", "IN1k")),
    Row("13/T O365+CC3M", _ap(*_BEST), "13/T O365", ("O365", "CC3M")),
    Row("13/T full", _ap(40.4, 36.0, 41.7, 40.0), "13/T O365", _FULL),
    Row("13/T full+IN1k", _ap(40.6, 38.2, 42.0, 39.9), "13/T full", (*_FULL, "IN1k")),
    Row("13/L full", _ap(44.7, 43.1, 46.3, 43.7), "13/T full", _FULL, large=True),
    Row("13/L full+IN1k", _ap(44.7, 43.8, 45.4, 44.3), "13/L full", (*_FULL, "IN1k"), large=True),
    # The paper's open problems: boxes of things without a name, noisy captions, too many pairs.
    Row("open/as the paper"),
    Row("open/oln", against="open/as the paper", change=chain(quality, serving(ranking="both"))),
    Row(
        "open/cleaning drop", against="open/as the paper", change=pairs(support=0.02, noise="drop")
    ),
    Row(
        "open/cleaning weigh",
        against="open/as the paper",
        change=pairs(support=0.02, noise="weigh"),
    ),
    Row("open/imbalance temperature=0.5", against="open/as the paper", change=run(temperature=0.5)),
    # What each data type gives: all of them, only boxes, all but one.
    Row("types/all", data=_TYPES),
    Row("types/boxes only", against="types/all", data=("O365", "GoldG")),
    Row("types/without detection", against="types/all", data=_TYPES[1:]),
    Row("types/without grounding", against="types/all", data=("O365", "CC15M", "IN1k")),
    Row("types/without captions", against="types/all", data=("O365", "GoldG", "IN1k")),
    Row("types/without class names", against="types/all", data=_FULL),
)
"""All rows, in the paper's order."""


def find_rows(table: str, labels: Sequence[str] = ()) -> list[Row]:
    """Rows of a table that can be trained: "2a", "2" for all of Table 2, "all" for everything.

    Args:
        table: its number.
        labels: rows with or without the table's number; none for all.

    Raises:
        ValueError: no such table, or no such row in it.
    """
    tables = list(dict.fromkeys(row.table for row in ROWS))
    chosen = [r for r in ROWS if table in ("all", r.table, r.table.rstrip("abcdef"))]
    if not chosen:
        raise ValueError(f"no table {table!r}; known: {', '.join(tables)}, 2, all")
    by_label: dict[str, list[Row]] = {}
    for row in chosen:
        by_label.setdefault(row.name.casefold(), []).append(row)
        by_label.setdefault(row.label.casefold(), []).append(row)
    if unknown := [label for label in labels if label.casefold() not in by_label]:
        known = "; ".join(row.name for row in chosen)
        raise ValueError(f"no row {unknown[0]!r} in {table}; known: {known}")
    if labels:
        chosen = [row for label in labels for row in by_label[label.casefold()]]
        for row in chosen:
            if row.change is None:
                raise ValueError(f"{row.name} is another method's; its figures are quoted only")
    return [row for row in dict.fromkeys(chosen) if row.change is not None]


def listing() -> str:
    """All rows, one a line: name, data, the paper's figures."""
    lines = []
    for row in ROWS:
        paper = row.paper
        parts = f" ({'/'.join(f'{p:.1f}' for p in paper.parts)})" if paper.parts else ""
        figures = [f"AP {paper.ap:.1f}{parts}"] if paper.ap is not None else []
        quoted = ["quoted only"] if row.change is None else []
        notes = [*figures, *([paper.cost()] if paper.cost() else []), *quoted]
        lines.append(f"{row.name:34}{'+'.join(row.data):22}{'; '.join(notes)}".rstrip())
    return "\n".join(lines)
