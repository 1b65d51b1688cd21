"""Child processes that are forked from one which has imported torch and all that training needs.

Imports take ten seconds a process. Tests of what a process imports, of its command line or of its
environment start Python anew instead.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.preloaded"])


def start(target: Callable[..., Any], *arguments: Any, log: Path) -> ForkServerProcess:
    """Run `target` in a process of its own, in the present environment; `log` gets what it says."""
    given = (target, arguments, dict(os.environ), log)
    process = _CONTEXT.Process(target=_run, args=given)
    process.start()
    return process


def finish(process: ForkServerProcess, log: Path, seconds: float = 240) -> None:
    """Wait until the process has ended well."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode == 0, f"{process.exitcode}: {log.read_text()[-3000:]}"


def two(target: Callable[..., Any], *arguments: Any, restarts: int = 0) -> None:
    """Run `target` in two processes as torchrun does; itself to be run by `start`."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=restarts,
        start_method="fork",
    )
    elastic_launch(config, target)(*arguments)


def _run(
    target: Callable[..., Any], arguments: tuple[Any, ...], environment: dict[str, str], log: Path
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    target(*arguments)
