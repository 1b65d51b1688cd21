"""Precision and recall against the threshold, as inline SVG; every word is escaped."""

from __future__ import annotations

from html import escape

from app.labelstudio.learn.calibrate import Curve, Proposal
from app.labelstudio.learn.proposals import Proposals

_LEGEND = (
    '<p id="legend"><span class="precision">precision</span> with its 95 % interval, '
    '<span class="recall">recall</span>, <span class="chosen">proposed threshold</span></p>'
)


def plots(found: Proposals) -> str:
    """A plot for each label, under a legend."""
    drawn = "".join(plot(found.curves[p.name], p) for p in found.proposals)
    return f'{_LEGEND}<div id="plots">{drawn}</div>'


def plot(found: Curve, proposal: Proposal) -> str:
    """Precision (with its interval) and recall against the threshold, as inline SVG."""
    width, height, pad = 300, 170, 28
    points = found.points

    def x(value: float) -> float:
        return pad + value * (width - pad - 8)

    def y(value: float) -> float:
        return 8 + (1 - value) * (height - pad - 8)

    def path(values: list[float]) -> str:
        pairs = zip(points, values, strict=True)
        return " ".join(f"{x(p.threshold):.1f},{y(v):.1f}" for p, v in pairs)

    low = path([p.precision_interval[0] for p in points]).split()
    high = path([p.precision_interval[1] for p in points]).split()
    band = " ".join([*low, *reversed(high)])
    grid = "".join(
        f'<line x1="{pad}" x2="{width - 8}" y1="{y(v)}" y2="{y(v)}" class="grid"/>'
        f'<text x="{pad - 4}" y="{y(v) + 3}" text-anchor="end">{v:g}</text>'
        f'<text x="{x(v)}" y="{height - 10}" text-anchor="middle">{v:g}</text>'
        for v in (0, 0.5, 1)
    )
    mark = ""
    if proposal.threshold is not None:
        at = x(proposal.threshold)
        mark = f'<line x1="{at}" x2="{at}" y1="{y(0)}" y2="{y(1)}" class="chosen"/>'
    few = "" if found.enough else " (too few to say)"
    name = escape(found.name)
    return (
        f"<figure><figcaption><b>{name}</b>{few}</figcaption>"
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="precision and recall of '
        f'{name}">{grid}<polygon points="{band}" class="band"/>'
        f'<polyline points="{path([p.precision for p in points])}" class="precision"/>'
        f'<polyline points="{path([p.recall for p in points])}" class="recall"/>{mark}</svg>'
        "</figure>"
    )
