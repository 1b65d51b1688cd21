"""The picture of the layers, drawn from the code: `python -m tests.layers > docs/layers.svg`.

Every room stands one floor above the highest room that it imports. Of the arrows only those are
drawn that no way over other rooms tells already; red ones lie in a circle.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from html import escape

import networkx as nx

from tests.test_layering import rooms_of

_WIDTH, _ROW, _BOX, _MARGIN = 1200, 68, 30, 24
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2937}"
    ".title{font-size:16px;font-weight:600}.room{fill:#eef2ff;stroke:#6366f1}"
    ".panel{fill:#fff;stroke:#d1d5db}.arrow{fill:none;stroke:#9ca3af}.circle{fill:none;stroke:#dc2626}"
)


def floors_of(graph: nx.DiGraph) -> dict[str, int]:
    """Room → floor, from 0; rooms of one circle share a floor."""
    parts = nx.condensation(graph)
    floor: dict[int, int] = {}
    for part in reversed(list(nx.topological_sort(parts))):
        floor[part] = 1 + max((floor[below] for below in parts.successors(part)), default=-1)
    return {room: floor[part] for part, data in parts.nodes(data=True) for room in data["members"]}


def _arrows(graph: nx.DiGraph) -> tuple[list[tuple[str, str]], set[tuple[str, str]]]:
    """The arrows to draw, and those that lie in a circle."""
    part = {r: n for n, rooms in enumerate(nx.strongly_connected_components(graph)) for r in rooms}
    circles = {(a, b) for a, b in graph.edges if part[a] == part[b]}
    straight = nx.DiGraph(graph)
    straight.remove_edges_from(circles)
    if nx.is_directed_acyclic_graph(straight):
        straight = nx.transitive_reduction(straight)
    return sorted({*straight.edges, *circles}), circles


def _panel(package: str, rooms: Mapping[str, set[str]], top: int) -> str:
    graph = nx.DiGraph({room: sorted(others) for room, others in rooms.items()})
    floors = floors_of(graph)
    height = _ROW * (1 + max(floors.values()))
    parts = [
        f'<rect class="panel" x="8" y="{top}" width="{_WIDTH - 16}" height="{height + 36}" '
        'rx="8"/>',
        f'<text class="title" x="{_MARGIN}" y="{top + 24}">{package}</text>',
    ]
    place: dict[str, tuple[float, float]] = {}
    width: dict[str, float] = {}
    for level in range(1 + max(floors.values())):
        row = sorted(room for room, floor in floors.items() if floor == level)
        step = (_WIDTH - 2 * _MARGIN) / len(row)
        for number, room in enumerate(row):
            x = _MARGIN + step * (number + 0.5)
            place[room] = x, top + 36 + height - _ROW * (level + 1)
            width[room] = min(step - 8, 168)
    arrows, circles = _arrows(graph)
    for above, below in arrows:
        (x, y), (to_x, to_y) = place[above], place[below]
        kind = "circle" if (above, below) in circles else "arrow"
        y += _BOX
        bend = (y + to_y) / 2 if y < to_y else y + 24
        parts.append(
            f'<path class="{kind}" marker-end="url(#head)" '
            f'd="M{x:.0f} {y:.0f}C{x:.0f} {bend:.0f} {to_x:.0f} {bend:.0f} {to_x:.0f} {to_y:.0f}"/>'
        )
    for room, (x, y) in place.items():
        parts.append(
            f'<rect class="room" x="{x - width[room] / 2:.0f}" y="{y:.0f}" '
            f'width="{width[room]:.0f}" height="{_BOX}" rx="6"/>'
            f'<text x="{x:.0f}" y="{y + 19:.0f}" text-anchor="middle">{escape(room)}</text>'
        )
    return "\n".join(parts)


def picture(packages: Mapping[str, Mapping[str, set[str]]]) -> str:
    """An SVG of packages: each its rooms with the rooms that they import."""
    top, panels = 8, []
    for package, rooms in packages.items():
        panels.append(_panel(package, rooms, top))
        graph = nx.DiGraph({room: sorted(others) for room, others in rooms.items()})
        top += _ROW * (1 + max(floors_of(graph).values())) + 36 + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" width="{_WIDTH}">'
        f'<style>{_STYLE}</style><defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" '
        'markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#9ca3af"/>'
        f'</marker></defs><rect width="{_WIDTH}" height="{top}" fill="#f9fafb"/>\n'
        + "\n".join(panels)
        + "\n</svg>\n"
    )


def current() -> str:
    """The picture of the code as it is."""
    return picture({name: rooms_of(name) for name in ("app", "train", "detclipv2")})


if __name__ == "__main__":
    sys.stdout.write(current())
