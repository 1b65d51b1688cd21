"""The ML-backend protocol's addresses, over FastAPI."""

from __future__ import annotations

import logging
import secrets
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel

from app.labelstudio.api.config_xml import ConfigError
from app.labelstudio.backend.answers import Answer
from app.labelstudio.backend.bodies import Event, Predict, Setup, Train, checked_body, read_body
from app.labelstudio.backend.limited_pool import Busy, LimitedPool
from app.labelstudio.backend.service import Backend
from app.labelstudio.backend.webhooks import WebhookSigner
from detclipv2.language.vocabulary import VocabularyError

log = logging.getLogger(__name__)

_GUARD = HTTPBasic(auto_error=False)
_AT_ONCE = 8
"""Predictions under way; Label Studio asks for as many as labelers draw at once."""
_IN_TIME = 90.0
"""Seconds; Label Studio gives up after 100."""


def build_backend(
    backend: Backend,
    login: tuple[str, str] | None = None,
    signer: WebhookSigner | None = None,
    pool: LimitedPool | None = None,
) -> FastAPI:
    """The HTTP service.

    Args:
        backend: what answers.
        login: user and password of basic authentication, None for nobody to be asked.
        signer: gives Label Studio's webhooks the login; None leaves them as they are.
        pool: runs the predictions; None for one that answers before Label Studio gives up.
    """

    async def allowed(
        request: Request, given: Annotated[HTTPBasicCredentials | None, Depends(_GUARD)]
    ) -> None:
        if request.headers.get("origin") is not None:  # Label Studio's server sends none
            raise HTTPException(403, "pages may not ask this backend; Label Studio's server does")
        if login is None:
            return
        sent = (given.username, given.password) if given else ("", "")
        pairs = zip(sent, login, strict=True)
        if not all([secrets.compare_digest(a.encode(), b.encode()) for a, b in pairs]):
            if request.url.path == "/webhook" and given is None:
                log.warning(
                    "an event of Label Studio came without a password and was refused; in the "
                    "project's settings, Webhooks, give %s the header Authorization: Basic …",
                    request.url,
                )
            raise HTTPException(401, "wrong user or password", {"WWW-Authenticate": "Basic"})

    def sign_webhooks_of(request: Request, project: str) -> None:
        if signer is not None:
            signer.see(project, f"{request.base_url}webhook")

    app = FastAPI(
        title="DetCLIPv2 ML backend",
        dependencies=[Depends(allowed)],
        docs_url=None,
        openapi_url=None,
    )
    pool = pool or LimitedPool(_AT_ONCE, _IN_TIME)

    async def asked(request: Request, kind: type[BaseModel]) -> Any:
        body = checked_body(kind, await read_body(request))
        project = getattr(body, "project", None)
        if isinstance(project, str):
            sign_webhooks_of(request, project)
        return body

    @app.get("/")
    @app.get("/health")
    async def health() -> dict[str, Any]:
        return backend.health()

    @app.post("/setup")
    async def setup(request: Request) -> dict[str, Any]:
        body: Setup = await asked(request, Setup)
        return await run_in_threadpool(backend.setup, str(body.project), body.schema_)

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        body: Predict = await asked(request, Predict)
        tasks = [task.model_dump() for task in body.tasks]
        context = body.params.context.result if body.params and body.params.context else None
        try:
            results: list[Answer] = await pool.run(
                lambda: backend.predict(tasks, body.label_config, str(body.project), context)
            )
        except (ConfigError, VocabularyError) as error:
            raise HTTPException(422, str(error)) from error
        except (Busy, TimeoutError) as error:
            message = backend.message(body.label_config, context, str(error))
            if message is None:
                raise HTTPException(503, str(error), {"Retry-After": "60"}) from error
            results = [message]
        # one answer a task: with fewer, the server throws all of them away
        return {"results": results + [[]] * (len(tasks) - len(results))}

    @app.delete("/prompt/{project}")
    async def forget_prompt(project: int) -> dict[str, Any]:
        kept = await run_in_threadpool(backend.forget_prompt, str(project))
        return {"status": "ok", "forgotten": kept}

    @app.post("/webhook")
    async def webhook(request: Request) -> dict[str, Any]:
        body: Event = await asked(request, Event)
        return await run_in_threadpool(backend.webhook, body.model_dump())

    @app.post("/train")
    async def train(request: Request) -> dict[str, Any]:
        body: Train = await asked(request, Train)
        event = {"action": "START_TRAINING", "project": {"id": body.project}}
        return await run_in_threadpool(backend.webhook, event)

    return app
