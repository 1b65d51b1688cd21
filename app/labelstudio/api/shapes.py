"""What Label Studio's answers have to look like, as far as they are used here.

Fields that nobody reads are dropped; one that is read and is not as it should be is an error that
names it.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Annotated, Any, NotRequired, TypeVar, cast

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from app.labelstudio.api.errors import LabelStudioError

MAX_DEPTH = 100
"""Of lists and objects inside one another."""

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
Ident = Annotated[int, Field(ge=0, lt=2**63)]
Shape = TypeVar("Shape")


@with_config(_STRICT)
class Person(TypedDict):
    """`/api/current-user/whoami`."""

    email: NotRequired[str]


@with_config(_STRICT)
class Version(TypedDict):
    """`/api/version`."""

    release: NotRequired[str]


@with_config(_STRICT)
class Project(TypedDict):
    """`/api/projects/ID/`, and what making one gives."""

    id: Ident
    title: NotRequired[str | None]
    label_config: NotRequired[str | None]
    model_version: NotRequired[str | None]
    show_collab_predictions: NotRequired[bool | None]


@with_config(_STRICT)
class ProjectPage(TypedDict):
    """`/api/projects/`."""

    count: NotRequired[Ident]
    next: NotRequired[str | None]
    results: list[Project]


@with_config(_STRICT)
class Prediction(TypedDict):
    """Of a task; its regions are anybody's, see `payload.to_boxes`."""

    id: Ident
    model_version: NotRequired[str | None]
    score: NotRequired[float | None]
    result: NotRequired[list[dict[str, Any]]]


@with_config(_STRICT)
class Annotation(TypedDict):
    """Of a task, by a labeler."""

    id: NotRequired[Ident]
    parent_prediction: NotRequired[Ident | None]
    was_cancelled: NotRequired[bool | None]
    lead_time: NotRequired[float | None]
    result: NotRequired[list[dict[str, Any]]]


@with_config(_STRICT)
class Task(TypedDict):
    """Of a page; what a request leaves out is not there."""

    id: Ident
    data: NotRequired[dict[str, Any]]
    total_annotations: NotRequired[Ident | None]
    predictions: NotRequired[list[Prediction]]
    annotations: NotRequired[list[Annotation]]


@with_config(_STRICT)
class TaskPage(TypedDict):
    """`/api/tasks/`."""

    total: Ident
    tasks: list[Task]


@with_config(_STRICT)
class Import(TypedDict):
    """What an import of files gives."""

    file_upload_ids: Annotated[list[Ident], Field(min_length=1)]


@with_config(_STRICT)
class FileUpload(TypedDict):
    """`/api/import/file-upload/ID`."""

    file: str


@with_config(_STRICT)
class LocalStorage(TypedDict):
    """`/api/storages/localfiles`."""

    id: Ident
    title: NotRequired[str | None]
    path: NotRequired[str | None]
    regex_filter: NotRequired[str | None]
    use_blob_urls: NotRequired[bool | None]
    recursive_scan: NotRequired[bool | None]
    status: NotRequired[str | None]


@with_config(_STRICT)
class Webhook(TypedDict):
    """`/api/webhooks/`."""

    id: Ident
    url: str
    project: NotRequired[Ident | None]
    headers: NotRequired[dict[str, str] | None]


@with_config(_STRICT)
class AccessToken(TypedDict):
    """`/api/token/refresh/`."""

    access: Annotated[str, Field(min_length=1, max_length=10_000, pattern=r"^[\x21-\x7e]+$")]


def checked(kind: type[Shape], answer: object, what: str) -> Shape:
    """The answer as this kind.

    Args:
        kind: one of this module's, or a list of one.
        answer: parsed JSON.
        what: it is about, for people.

    Raises:
        LabelStudioError: it is something else; the message names the first field that is wrong.
    """
    try:
        return cast("Shape", _adapter(cast("Any", kind)).validate_python(answer))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "all of it"
        raise LabelStudioError(
            f"{what}: the answer is not one of Label Studio's ({field}: {first['msg']}); check the "
            "address, with its sub-path, and what stands between here and the server"
        ) from error


def parse_json(content: bytes) -> Any:
    """JSON of bounded depth.

    Raises:
        ValueError: it is none, or too deep.
    """
    text = content.decode("utf-8")
    if json_depth(content) > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} lists and objects inside one another")
    value = json.loads(text, parse_constant=_no_constant)
    if _HALF.search(content):  # "\\ud83d" is half a character, and nothing can be written with it
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def json_depth(content: bytes) -> int:
    """How deep lists and objects lie in one another; linear, and exact for valid JSON."""
    outside = re.sub(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z|\\\Z)', b"", content, flags=re.DOTALL)
    brackets = outside.translate(None, delete=_NO_BRACKETS)
    depth = deepest = 0
    for start in range(0, len(brackets), _BLOCK):
        part = np.frombuffer(brackets[start : start + _BLOCK], np.uint8)
        steps = np.where((part == ord("[")) | (part == ord("{")), 1, -1)
        depths = depth + np.cumsum(steps)
        depth, deepest = int(depths[-1]), max(deepest, int(depths.max()))
    return deepest


_BLOCK = 2**16
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
