"""What the Label Studio tab's handlers set, by component."""

from __future__ import annotations

from typing import Any, NamedTuple

from app.labelstudio.api.connection import Connection
from app.labelstudio.push.planned import Plan
from app.ui.shared.events import SKIP


class ConnectOutputs(NamedTuple):
    """The connection, the emptied key field, who answers, and the list of projects."""

    connection: Connection | None
    key: str
    account: str
    project: Any


class CheckOutputs(NamedTuple):
    """The status, and the table of images."""

    status: str
    images: Any = SKIP


class ProjectOutputs(NamedTuple):
    """The list of projects, and the status."""

    project: Any = SKIP
    status: Any = SKIP


class PlanOutputs(NamedTuple):
    """A dry run: the plan, and what is shown of it.

    Attributes:
        plan: what Push carries out; None for nothing.
        status: the plan in words.
        mapping: the table of classes and labels.
        missing: lines to add to the configuration.
        add: the button that adds them.
        push: the button.
    """

    plan: Plan | None
    status: str
    mapping: Any = SKIP
    missing: Any = SKIP
    add: Any = SKIP
    push: Any = SKIP


class PushOutputs(NamedTuple):
    """No plan any more, the status, and the button."""

    plan: None
    status: str
    push: Any
