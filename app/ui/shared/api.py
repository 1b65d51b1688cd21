"""What the named endpoints answer, as types; gradio_client and the page's API docs show them."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from gradio.components.api_component import Api
from gradio_client.utils import python_type_to_json_schema


class Category(TypedDict):
    """A class; `id` counts from 1."""

    id: int
    name: str
    supercategory: str


class Picture(TypedDict):
    """A photo, in pixels, upright."""

    id: int
    file_name: str
    width: int
    height: int


class Annotation(TypedDict):
    """A box: x, y, width, height in pixels of the upright photo."""

    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float
    iscrowd: int
    segmentation: list[list[float]]
    score: float


class Detected(TypedDict):
    """/detect, in COCO's format; `info` says how it came about."""

    info: dict[str, str | float | list[int] | list[str] | None]
    licenses: list[str]
    images: list[Picture]
    categories: list[Category]
    annotations: list[Annotation]


class Model(TypedDict):
    """The answer of /info.

    Name, hex digest of the weights, long side of what it sees in pixels, those of all its looks at
    a photo, device, what runs the image tower there, milliseconds of a photo from file to boxes,
    and of the image tower alone by fast and thorough looks; None where not measured yet.
    """

    model: str
    checkpoint: str
    size: int
    looks: list[int]
    device: str
    runtime: str
    milliseconds_per_photo: float | None
    milliseconds_of_looks: dict[str, float | None]


class AlignedPhrase(TypedDict):
    """A phrase: first and behind its last character in the caption, and its best region."""

    text: str
    span: list[int] | None
    match: float
    evidence: float
    region: int
    present: bool


class Comparing(TypedDict):
    """How words and regions were compared; see `AlignSettings`."""

    matching: Literal["max", "softmax"]
    temperature: float
    objectness: str
    regions: int
    nms_iou: float


class Aligned(TypedDict):
    """/align: R regions (xyxy in pixels of the upright photo) by P phrases; see `Alignment`."""

    caption: str
    phrases: list[AlignedPhrase]
    boxes: list[list[float]]
    levels: list[int]
    scores: list[list[float]]
    null: list[float]
    bias: float
    similarity: float
    size: list[int]
    settings: Comparing
    least_evidence: float
    model: Model


class Named(TypedDict):
    """What a side calls a box."""

    name: str
    score: float


class Changed(TypedDict):
    """A box of either side, xyxy in pixels; None where a side does not have it."""

    kind: Literal["gained", "lost", "relabelled", "moved", "same"]
    box: list[float]
    before: Named | None
    after: Named | None


class Compared(TypedDict):
    """/compare: how many boxes of each kind, and all of them."""

    counts: dict[str, int]
    changes: list[Changed]


def answer(kind: type[Any], label: str) -> Api:
    """An endpoint's output of type `kind`, one of those above; the page shows nothing of it."""
    return Api(None, python_type_to_json_schema(kind), label)
