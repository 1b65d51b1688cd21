"""A Label Studio in memory, for what the real one does not do on demand.

It knows the requests that push, pull and calibrate make, and answers as the real server does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.labelstudio.api.connection import Connection

CONFIG = """<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image">
    <Label value="cat"/><Label value="cup"/>
  </RectangleLabels>
</View>"""


KINDS = (".bmp", ".gif", ".jpg", ".jpeg", ".png", ".webp")


@dataclass
class _Wire(httpx.SyncByteStream):
    content: bytes

    def __iter__(self) -> Iterator[bytes]:
        yield self.content


@dataclass
class Desk:
    """The server.

    Attributes:
        url: its address.
        cap: most tasks a page has, whatever is asked for.
        projects: by number.
        tasks: of all projects, by number.
        files: names of uploads, and their bytes.
        log: requests that write.
    """

    url: str = "http://desk"
    cap: int = 1000
    projects: dict[int, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def connect(self) -> Connection:
        """A connection whose requests are answered here."""
        return Connection(self.url, "0" * 40, transport=httpx.MockTransport(self._stream))

    def project(self, *urls: str, config: str = CONFIG) -> int:
        """A project with one task an address; returns its number."""
        number = len(self.projects) + 1
        self.projects[number] = {
            "id": number,
            "title": f"project {number}",
            "label_config": config,
            "model_version": "",
            "show_collab_predictions": True,
        }
        for url in urls:
            self.task(number, {"image": url})
        return number

    def task(self, project: int, data: dict[str, Any]) -> dict[str, Any]:
        """A task; returns it as the server tells it."""
        number = len(self.tasks) + 1
        self.tasks[number] = {
            "id": number,
            "project": project,
            "data": data,
            "predictions": [],
            "annotations": [],
            "total_annotations": 0,
        }
        return self.tasks[number]

    def predict(self, task: int, made: dict[str, Any]) -> int:
        """A prediction; returns its number."""
        number = 1 + max(
            (one["id"] for t in self.tasks.values() for one in t["predictions"]), default=0
        )
        self.tasks[task]["predictions"].append({**made, "id": number})
        return number

    def submit(self, task: int) -> None:
        """A labeler leaves the task's newest prediction as it is."""
        made = self.tasks[task]["predictions"][-1]
        self.tasks[task]["annotations"].append(
            {"parent_prediction": made["id"], "result": made["result"], "lead_time": 1.0}
        )
        self.tasks[task]["total_annotations"] += 1

    def _stream(self, request: httpx.Request) -> httpx.Response:
        """The answer as it comes over a wire, to be read once."""
        answer = self._answer(request)
        return httpx.Response(answer.status_code, stream=_Wire(answer.content))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        method, path = request.method, request.url.path
        if method != "GET":
            self.log.append(f"{method} {path}")
        body = request.content
        if path == "/api/tasks/":
            asked = request.url.params
            size, page = min(int(asked["page_size"]), self.cap), int(asked["page"])
            found = [t for t in self.tasks.values() if t["project"] == int(asked["project"])]
            part = found[(page - 1) * size : page * size]
            return httpx.Response(200, json={"total": len(found), "tasks": part})
        if path == "/api/projects/" and method == "POST":
            number = self.project()
            self.projects[number].update(json.loads(body))
            return httpx.Response(201, json=self.projects[number])
        if path == "/api/projects/":
            return httpx.Response(200, json={"results": [*self.projects.values()], "next": None})
        if match := re.fullmatch(r"/api/projects/(\d+)/", path):
            number = int(match[1])
            if number not in self.projects:
                return httpx.Response(404, json={"detail": "Not found."})
            if method == "PATCH":
                self.projects[number].update(json.loads(body))
            return httpx.Response(200, json=self.projects[number])
        if match := re.fullmatch(r"/api/projects/(\d+)/import/predictions", path):
            for made in json.loads(body):
                self.predict(made["task"], made)
            return httpx.Response(201, json={})
        if match := re.fullmatch(r"/api/projects/(\d+)/import", path):
            return self._import(int(match[1]), request)
        if match := re.fullmatch(r"/api/import/file-upload/(\d+)", path):
            name = list(self.files)[int(match[1])]
            return httpx.Response(200, json={"file": f"upload/1/12345678-{name}"})
        if match := re.fullmatch(r"/api/predictions/(\d+)/", path):
            for task in self.tasks.values():
                kept = [one for one in task["predictions"] if one["id"] != int(match[1])]
                task["predictions"] = kept
            return httpx.Response(204)
        if path.startswith("/data/"):
            return httpx.Response(404, json={"detail": "Not found."})
        raise AssertionError(f"the desk knows no {method} {path}")

    def _import(self, project: int, request: httpx.Request) -> httpx.Response:
        if request.headers["content-type"] == "application/json":
            for data in json.loads(request.content):
                self.task(project, data)
            return httpx.Response(201, json={})
        found = re.search(rb'filename="([^"]+)"\r\n(?:[^\r]+\r\n)*\r\n', request.content)
        assert found is not None
        name = found[1].decode()
        if not name.lower().endswith(KINDS):
            return httpx.Response(400, json={"detail": f"{name}: extension is not supported"})
        self.files[name] = request.content[found.end() :].rpartition(b"\r\n--")[0]
        return httpx.Response(201, json={"file_upload_ids": [len(self.files) - 1]})
