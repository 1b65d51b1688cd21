"""What the page's scripts tell of a press; anybody can send anything in its place."""

from __future__ import annotations

from app.box import Corners


def pressed_point(data: object) -> tuple[float, float] | None:
    """Where a photo was pressed, in pixels of the upright original; see `cards.VIEW_JS`."""
    match data:
        case {"x": float() | int() as x, "y": float() | int() as y}:
            return float(x), float(y)
    return None


def pressed_number(data: object) -> int | None:
    """The number of the box that the keyboard chose."""
    match data:
        case {"number": int(number)}:
            return number
    return None


def pressed_card(data: object) -> tuple[int, Corners | None] | None:
    """The photo's id and the box of a card; see `cards.OPEN_JS`."""
    match data:
        case {"photo": int(image), "box": [*box]} if len(box) == 4:
            if all(isinstance(value, float | int) for value in box):
                x1, y1, x2, y2 = map(float, box)
                return image, (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None
            return image, None
        case {"photo": int(image)}:
            return image, None
    return None


def pressed_name(data: object) -> str:
    """The name that was pressed; empty for none."""
    match data:
        case {"name": str(name)}:
            return name
    return ""
