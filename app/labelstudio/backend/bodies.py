"""What Label Studio asks of a live backend: the bodies of its requests, checked at the door."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from app.labelstudio.api.config_xml import MAX_CONFIG
from app.labelstudio.api.shapes import Ident, parse_json

MAX_BODY = 32 * 2**20
"""Bytes of a request; a task with hundreds of drawn masks has a tenth of it."""
MAX_TASKS = 10_000
_SECONDS = 60.0
"""Longest that a request may take to arrive."""


def _project(value: str | int | None) -> str:
    """Read "7.1699999999", which is how the server writes project 7 and the time it was made."""
    found = re.fullmatch(r"(\d{1,12})(\.\d{1,20})?", "0" if value in (None, "") else str(value))
    if found is None:
        raise ValueError("a project is a number")
    return found[1]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True)


Project = Annotated[str | int | None, AfterValidator(_project)]
Config = Annotated[str, Field(max_length=MAX_CONFIG)]


class Task(_Body):
    """A task to look at."""

    id: Ident | None = None
    data: dict[str, Any] = {}


class Context(_Body):
    """What a labeler has just drawn or typed."""

    result: list[dict[str, Any]] | None = None


class Params(_Body):
    """Of a prediction."""

    context: Context | None = None


class Predict(_Body):
    """`/predict`."""

    tasks: Annotated[list[Task], Field(max_length=MAX_TASKS)] = []
    label_config: Config = ""
    project: Project = None
    params: Params | None = None


class Setup(_Body):
    """`/setup`."""

    project: Project = None
    schema_: Annotated[Config, Field(alias="schema")] = ""


class AboutProject(_Body):
    """The project that an event is about."""

    id: Ident | None = None
    label_config: Config | None = None


class Event(_Body):
    """`/webhook`."""

    action: Annotated[str, Field(max_length=100)] = ""
    project: AboutProject | None = None


class Train(_Body):
    """`/train`."""

    project: Project = None


async def read_body(request: Request) -> Any:
    """The JSON of a request.

    Raises:
        HTTPException: it is too large, too slow, or no JSON.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":  # what pages can send without being allowed to
        raise HTTPException(415, "send application/json")
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdecimal() and len(length) < 20 and int(length) > MAX_BODY:
        raise _ended(413, f"a request may have {MAX_BODY:,} bytes")
    content = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MAX_BODY:
                    raise _ended(413, f"a request may have {MAX_BODY:,} bytes")
    except TimeoutError as error:
        raise _ended(408, f"a request may take {_SECONDS:g} s to arrive") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "the request ends too early") from error
    try:
        return await run_in_threadpool(parse_json, bytes(content))
    except ValueError as error:
        raise HTTPException(400, f"this is no JSON: {str(error)[:200]}") from error


def checked_body(kind: type[BaseModel], body: object) -> Any:
    """The body as this kind.

    Raises:
        HTTPException: it is something else; the message names the first field that is wrong.
    """
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"]))[:200] or "all of it"
        raise HTTPException(422, f"{field}: {first['msg']}") from error


def _ended(status: int, message: str) -> HTTPException:
    """An answer after which the connection ends: what is still to come is not read."""
    return HTTPException(status, message, {"Connection": "close"})
