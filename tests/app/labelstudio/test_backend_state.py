"""The live backend without a server: what it remembers, and that health waits for no model."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from app.engine import Engine
from app.labelstudio.api.image_reader import TaskImages
from app.labelstudio.backend.learned_state import Learned, LearnedState, Prompt
from app.labelstudio.backend.service import Backend
from app.labelstudio.learn.calibrate import Proposal
from tests.app.labelstudio.conftest import CONFIG, LOW, Server


def test_a_memory_is_read_as_it_was_written_and_never_used_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "data" / "state.json"
    state = LearnedState(file, "http://here")
    learned = Learned("f" * 8, (Proposal("cüp", 0.4, "why"), Proposal("cat", None, "too few")))
    state.keep_learned("7", learned)
    state.keep_prompt("7", Prompt("cup\n<b>", LOW))
    state.keep_prompt("8", Prompt("dog", LOW))
    state.keep_prompt("8", None)
    again = LearnedState(file, "http://here")
    assert again.learned("7", "f" * 8) == learned.proposals
    assert again.prompt("7") == Prompt("cup\n<b>", LOW)
    assert again.prompt("8") is None and again.learned("8", "f" * 8) == ()
    with pytest.raises(ValueError, match="belongs to the Label Studio at http://here"):
        LearnedState(file, "http://elsewhere")
    file.write_text(file.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    with pytest.raises(ValueError, match=r"state\.json is damaged .* remove it"):
        LearnedState(file, "http://here")


def test_thresholds_of_another_checkpoint_are_not_used(server: Server, engine: Engine) -> None:
    connection = server.connect()
    versions = []
    for checkpoint in ("", engine.fingerprint, "of another"):
        state = LearnedState()
        if checkpoint:
            state.keep_learned("1", Learned(checkpoint, (Proposal("cat", 0.4, ""),)))
        made = Backend(lambda: engine.predictor, TaskImages(connection), connection, state=state)
        list(made.predict([], CONFIG, "1"))  # waits for the model
        versions.append(made.setup("1", CONFIG)["model_version"])
    assert versions[0] == versions[2] != versions[1]


def test_health_and_setup_do_not_wait_for_the_model(server: Server, engine: Engine) -> None:
    gate = threading.Event()

    def load() -> Any:
        gate.wait(20)
        return engine.predictor

    connection = server.connect()
    made = Backend(load, TaskImages(connection), connection)
    start = time.perf_counter()
    assert made.health()["model"] == "loading"
    assert made.setup("1", CONFIG)["model_version"]
    assert time.perf_counter() - start < 1
    gate.set()
    assert list(made.predict([], CONFIG, "1")) == []
    broken = Backend(lambda: 1 / 0, TaskImages(connection), connection)
    with pytest.raises(TimeoutError, match="division by zero"):
        list(broken.predict([], CONFIG, "1"))
