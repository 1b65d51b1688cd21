"""`app.cli serve-backend`."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from app.commands.detection_options import add_detection, detection_changes
from app.commands.server_options import connect, root_of
from app.labelstudio.api.environment import DOCUMENT_ROOT


def add_backend(commands: Any) -> None:
    """Add the command to argparse's sub-parsers."""
    serve = commands.add_parser(
        "serve-backend",
        help="serve the model to Label Studio as a live ML backend",
        description="Label Studio's ML-backend protocol. Connect it in a project's settings, "
        'Model. Prompts come from the project\'s labels, or from a <TextArea name="prompt"> on '
        "the image; the prompt “reset”, --forget-prompt ID and the request DELETE /prompt/ID make "
        "the labels count again.",
    )
    serve.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    serve.add_argument("--port", type=int, default=9090, help="default: %(default)s")
    serve.add_argument("--model", default="nano", metavar="NAME", help="default: %(default)s")
    add_detection(serve, lists=True)
    serve.add_argument(
        "--adapted",
        type=Path,
        metavar="FILE",
        help="use what `learn` found, a file or a run's folder, and follow it as it changes; with "
        "a folder “Start training” takes the project's annotations over into the run and learns",
    )
    serve.add_argument("--url", metavar="URL", help="Label Studio, for its images")
    serve.add_argument("--key-file", type=Path, metavar="FILE", help="file that holds the key")
    serve.add_argument(
        "--document-root", type=Path, metavar="DIR", help=f"default: ${DOCUMENT_ROOT}"
    )
    serve.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="where learned thresholds and typed prompts are kept (default: with the app's data, "
        "a file for each Label Studio)",
    )
    serve.add_argument(
        "--basic-auth",
        metavar="USER",
        help="ask for this user and the password in $BACKEND_PASSWORD",
    )
    serve.add_argument(
        "--allow-anyone",
        action="store_true",
        help="serve other machines without a password: whoever reaches this port can use the "
        "model, type prompts and start training",
    )
    serve.add_argument(
        "--forget-prompt",
        action="append",
        default=[],
        metavar="ID",
        help="make a project's labels count again, whatever prompt was typed in it before",
    )
    serve.set_defaults(act=run_backend)


def run_backend(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    import uvicorn

    from app.commands.live_learning import LearnedFile, check_learned, learner
    from app.labelstudio.api.image_reader import TaskImages
    from app.labelstudio.backend.http import build_backend
    from app.labelstudio.backend.learned_state import LearnedState, state_file
    from app.labelstudio.backend.service import Backend
    from app.labelstudio.backend.webhooks import WebhookSigner
    from detclipv2.checkpoint import read_config

    def load() -> Any:
        from app.engine import Engine

        return Engine.load(arguments.model).predictor

    login = _login(arguments)
    # Of the configuration alone, since versions are asked for while the model still loads.
    serving = read_config(arguments.model)[1]
    settings = replace(serving.list_defaults, **detection_changes(arguments))
    connection = connect(arguments)
    images = TaskImages(connection, document_root=root_of(arguments))
    state = LearnedState(arguments.state or state_file(connection.url), connection.url)
    for project in arguments.forget_prompt:
        state.keep_prompt(project, None)
    follow = learn = None
    if arguments.adapted is not None:
        check_learned(arguments.adapted)
        follow = LearnedFile(arguments.adapted)
        if arguments.adapted.is_dir():
            learn = learner(arguments.adapted, connection, root_of(arguments))
    backend = Backend(
        load, images, connection, settings=settings, state=state, follow=follow, learn=learn
    )
    signer = None if login is None else WebhookSigner(connection, login)
    if login is None:
        print(
            f"No password: whoever reaches {arguments.host}:{arguments.port} can use the model, "
            "type prompts and start training; --basic-auth USER asks for one"
        )
    if _is_loopback(arguments.host):
        print("Label Studio connects to local addresses only with USE_DEFAULT_BANNED_SUBNETS=false")
    print(f"ML backend on http://{arguments.host}:{arguments.port}  (Ctrl-C stops)", flush=True)
    service = build_backend(backend, login, signer)
    uvicorn.run(service, host=arguments.host, port=arguments.port, log_level="warning")
    return 0


def _login(arguments: argparse.Namespace) -> tuple[str, str] | None:
    """User and password that the backend asks for; None where nobody else can reach it."""
    if arguments.basic_auth:
        password = os.environ.get("BACKEND_PASSWORD", "")
        if not password:
            raise ValueError("--basic-auth needs the password in $BACKEND_PASSWORD")
        return arguments.basic_auth, password
    if not (_is_loopback(arguments.host) or arguments.allow_anyone):
        raise ValueError(
            f"--host {arguments.host} lets other machines in: ask for a password with --basic-auth "
            "USER and $BACKEND_PASSWORD, or say --allow-anyone"
        )
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
