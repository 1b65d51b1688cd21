"""Text embeddings are computed once, under the right key, and a bad cache costs only time."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from detclipv2.config import PRESETS, ModelConfig
from detclipv2.language.embedding_file import CACHE_VARIABLE, default_cache_dir
from detclipv2.language.text_cache import CHUNK, TextEmbeddings, prompt_text
from detclipv2.model import DetCLIPv2


def build(seed: int = 0, config: ModelConfig = PRESETS["tiny"]) -> DetCLIPv2:
    torch.manual_seed(seed)
    return DetCLIPv2(config).eval()


@pytest.fixture(scope="module")
def model() -> DetCLIPv2:
    return build()


@pytest.fixture
def encoded(model: DetCLIPv2, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The chunks of texts that reached the text tower."""
    chunks: list[list[str]] = []
    original = DetCLIPv2.encode_text

    def record(self: DetCLIPv2, texts: Sequence[str]) -> torch.Tensor:
        chunks.append(list(texts))
        return original(self, texts)

    monkeypatch.setattr(DetCLIPv2, "encode_text", record)
    return chunks


@pytest.mark.parametrize(
    ("template", "text", "sentence"),
    [
        ("a photo of a {}", "a red mug", "a photo of a red mug"),
        ("a photo of a {}", "The  Red_Mug ", "a photo of a red mug"),
        ("{}", "An apple", "apple"),
        ("{} on a table", "anteater", "anteater on a table"),
        ("a {}", "a", "a a"),
        ("a {}", "theatre", "a theatre"),
        ("a {}", "{0} {x}", "a {0} {x}"),
    ],
)
def test_prompt_text(template: str, text: str, sentence: str) -> None:
    assert prompt_text(template, text) == sentence


def test_rows_are_the_towers_in_the_order_asked(model: DetCLIPv2) -> None:
    texts = [f"{'very ' * (i % 5)}word {i}" for i in range(CHUNK + 9)]
    rows = TextEmbeddings(model).encode(texts)
    assert rows.shape == (len(texts), model.config.embed_dim)
    assert rows.dtype == torch.float32
    with torch.inference_mode():
        for index in (0, 1, 4, CHUNK, len(texts) - 1):
            alone = model.encode_text([prompt_text(model.config.text.template, texts[index])])[0]
            torch.testing.assert_close(rows[index], alone, atol=1e-5, rtol=1e-4)


def test_each_text_is_encoded_once(model: DetCLIPv2, encoded: list[list[str]]) -> None:
    cache = TextEmbeddings(model)
    first = cache.encode(["cat", "a red mug", "the cat", "RED  mug"])
    assert sorted(text for chunk in encoded for text in chunk) == ["cat", "red mug"]
    torch.testing.assert_close(first[[0, 1]], first[[2, 3]], rtol=0, atol=0)
    again = cache.encode(["dog", "cat"])
    assert encoded[1:] == [["dog"]]
    assert torch.equal(again[1], first[0])
    assert torch.equal(cache.encode(["cat"])[0], first[0])
    assert cache.encode([]).shape == (0, model.config.embed_dim)
    assert len(encoded) == 2


def test_chunks_are_small_and_hold_texts_of_similar_length(
    model: DetCLIPv2, encoded: list[list[str]]
) -> None:
    TextEmbeddings(model).encode([f"{'long ' * (i % 7)}word {i}" for i in range(2 * CHUNK + 1)])
    assert [len(chunk) for chunk in encoded] == [CHUNK, CHUNK, 1]
    lengths = [len(text) for chunk in encoded for text in chunk]
    assert lengths == sorted(lengths)


def test_the_disk_serves_the_next_process(
    model: DetCLIPv2, encoded: list[list[str]], tmp_path: Path
) -> None:
    texts = [f"word {i}" for i in range(1100)]  # more than SQLite's variables a statement
    first = TextEmbeddings(model, tmp_path / "new" / "folder").encode(texts)
    count = len(encoded)
    second = TextEmbeddings(model, tmp_path / "new" / "folder").encode([*reversed(texts)])
    assert len(encoded) == count
    assert torch.equal(first, second.flip(0))


def test_other_weights_or_another_template_find_nothing(
    encoded: list[list[str]], tmp_path: Path
) -> None:
    config = PRESETS["tiny"]
    other_template = replace(config, text=replace(config.text, template="a photo of a {}"))
    for index, model in enumerate((build(0), build(1), build(0, other_template)), start=1):
        TextEmbeddings(model, tmp_path).encode(["cat"])
        assert len(encoded) == index
    TextEmbeddings(build(0), tmp_path).encode(["cat"])
    assert len(encoded) == 3


def corrupt_file(folder: Path) -> Path:
    (folder / "text-embeddings.sqlite3").write_bytes(b"no database " * 500)
    return folder


def foreign_table(folder: Path) -> Path:
    with sqlite3.connect(folder / "text-embeddings.sqlite3") as connection:
        connection.execute("CREATE TABLE embeddings (id INTEGER)")
    connection.close()
    return folder


def file_in_the_way(folder: Path) -> Path:
    (folder / "taken").write_text("a file, not a folder")
    return folder / "taken"


@pytest.mark.parametrize("spoil", [corrupt_file, foreign_table, file_in_the_way])
def test_an_unusable_cache_is_said_once_and_costs_no_result(
    model: DetCLIPv2, tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil
) -> None:
    cache = TextEmbeddings(model, spoil(tmp_path))
    with caplog.at_level(logging.WARNING):
        rows = cache.encode(["cat"])
        cache.encode(["dog"])
    assert torch.equal(rows, TextEmbeddings(model).encode(["cat"]))
    assert len(caplog.records) == 1
    assert CACHE_VARIABLE in caplog.text


@pytest.mark.parametrize("damage", ["substr(vector, 1, 7)", "zeroblob(0)", "x'0000c07f' || substr(vector, 5)"])  # fmt: skip  # noqa: E501
def test_damaged_rows_are_computed_again(
    model: DetCLIPv2, encoded: list[list[str]], tmp_path: Path, damage: str
) -> None:
    good = TextEmbeddings(model, tmp_path).encode(["cat"])
    with sqlite3.connect(tmp_path / "text-embeddings.sqlite3") as connection:
        connection.execute(f"UPDATE embeddings SET vector = CAST({damage} AS BLOB)")
    connection.close()
    for _ in range(2):  # the first repairs the row
        assert torch.equal(TextEmbeddings(model, tmp_path).encode(["cat"]), good)
    assert len(encoded) == 2


def test_threads_share_one_cache(model: DetCLIPv2, tmp_path: Path) -> None:
    cache, expected = TextEmbeddings(model, tmp_path), TextEmbeddings(model)
    failures: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for step in range(8):
                texts = [f"word {(start + step + i) % 12}" for i in range(4)]
                torch.testing.assert_close(cache.encode(texts), expected.encode(texts))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


_WRITER = """
import sys, numpy as np
from pathlib import Path
from detclipv2.language.embedding_file import EmbeddingFile
disk, name = EmbeddingFile(Path(sys.argv[1]), 4), sys.argv[2]
for i in range(30):
    disk.write({f"{name}{i}".encode(): np.full(4, i, np.float32)})
    disk.write({b"shared": np.full(4, i, np.float32)})
    disk.read([b"shared"])
assert disk._usable
"""


def test_processes_write_at_the_same_time(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", _WRITER, str(tmp_path), name] for name in "ab"]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for command in commands]
    for process in running:
        _, message = process.communicate(timeout=60)
        assert process.returncode == 0, message.decode()
        assert b"not usable" not in message
    with sqlite3.connect(tmp_path / "text-embeddings.sqlite3") as connection:
        assert connection.execute("SELECT count(*) FROM embeddings").fetchone() == (61,)
    connection.close()


def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv(CACHE_VARIABLE)
    assert "detclipv2" in str(default_cache_dir())
