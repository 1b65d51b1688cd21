"""The ML-backend protocol's addresses, over FastAPI."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from app.labelstudio.backend import Backend
from app.labelstudio.backend_webhooks import WebhookSigner
from app.labelstudio.config_map import ConfigError
from detclipv2.language.vocabulary import VocabularyError

log = logging.getLogger(__name__)

_GUARD = HTTPBasic(auto_error=False)
Json = Annotated[dict[str, Any], Body()]


def build_backend(
    backend: Backend, login: tuple[str, str] | None = None, signer: WebhookSigner | None = None
) -> FastAPI:
    """The HTTP service.

    Args:
        backend: what answers.
        login: user and password of basic authentication, None for nobody to be asked.
        signer: gives Label Studio's webhooks the login; None leaves them as they are.
    """

    def allowed(
        request: Request, given: Annotated[HTTPBasicCredentials | None, Depends(_GUARD)]
    ) -> None:
        if login is None:
            return
        said = (given.username, given.password) if given else ("", "")
        pairs = zip(said, login, strict=True)
        if not all([secrets.compare_digest(a.encode(), b.encode()) for a, b in pairs]):
            if request.url.path == "/webhook" and given is None:
                log.warning(
                    "an event of Label Studio came without a password and was refused; in the "
                    "project's settings, Webhooks, give %s the header Authorization: Basic …",
                    request.url,
                )
            raise HTTPException(401, "wrong user or password", {"WWW-Authenticate": "Basic"})

    def seen(request: Request, project: str) -> None:
        if signer is not None:
            signer.see(project, f"{request.base_url}webhook")

    app = FastAPI(title="DetCLIPv2 ML backend", dependencies=[Depends(allowed)], docs_url=None)

    @app.get("/")
    @app.get("/health")
    def health() -> dict[str, Any]:
        return backend.health()

    @app.post("/setup")
    def setup(body: Json, request: Request) -> dict[str, Any]:
        seen(request, _project(body))
        return backend.setup(_project(body), str(body.get("schema", "")))

    @app.post("/predict")
    def predict(body: Json, request: Request) -> dict[str, Any]:
        seen(request, _project(body))
        params = body.get("params") or {}
        try:
            return backend.predict(
                body.get("tasks", []), str(body.get("label_config", "")), _project(body),
                params.get("context"),
            )  # fmt: skip
        except (ConfigError, VocabularyError) as error:
            raise HTTPException(422, str(error)) from error
        except TimeoutError as error:
            raise HTTPException(503, str(error)) from error

    @app.post("/webhook")
    def webhook(body: Json) -> dict[str, Any]:
        return backend.webhook(body)

    @app.post("/train")
    def train(body: Json) -> dict[str, Any]:
        return backend.webhook({"action": "START_TRAINING", "project": {"id": _project(body)}})

    return app


def _project(body: Mapping[str, Any]) -> str:
    # "7.1699999999" is how the server writes project 7 and the time it was made
    return str(body.get("project") or "").split(".")[0]
