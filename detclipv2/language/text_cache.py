"""Text embeddings, computed once: kept in memory and on disk under what they depend on."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from detclipv2.digest import digest
from detclipv2.language.embedding_file import EmbeddingFile
from detclipv2.language.sentence import prompt_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detclipv2.model import DetCLIPv2

CHUNK = 64
"""Texts encoded at once."""
MEMORY_TEXTS = 50_000
"""Embeddings kept in memory: 75 MB at 384 floats."""


class TextEmbeddings:
    """Embeddings of prompts under one model's weights, as they are when this is built.

    Thread-safe. Several processes may share the folder. A cache that cannot be read or written
    costs a warning and time, never a result.
    """

    def __init__(self, model: DetCLIPv2, cache_dir: Path | None = None) -> None:
        """Keep embeddings of `model` in `cache_dir`, or in memory only when it is None."""
        self._model = model
        self._template = model.config.text.template
        # With the sentence, which the template and the text make, this is the whole key.
        self._scope = f"{text_fingerprint(model)}\0"
        self._rows: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._last: tuple[tuple[str, ...], str, Tensor] | None = None
        self._lock = threading.Lock()
        self._disk = (
            None if cache_dir is None else EmbeddingFile(Path(cache_dir), model.config.embed_dim)
        )

    def encode(self, texts: Sequence[str], template: str | None = None) -> Tensor:
        """(K, D) float32 on the CPU, one row a text in the order given; read it, don't write it.

        Args:
            texts: K of them.
            template: the sentence round each, "{}" for its place; None for the model's own.

        Raises:
            ValueError: a template without a place.
        """
        wanted, sentence = tuple(texts), self._template if template is None else template
        if "{}" not in sentence:
            raise ValueError(f"the template {sentence!r} has no place for the words; write {{}}")
        with self._lock:
            # The same vocabulary, picture after picture, is looked up once.
            if self._last is None or self._last[:2] != (wanted, sentence):
                self._last = (wanted, sentence, self._look_up(wanted, sentence))
            return self._last[2]

    def _look_up(self, texts: Sequence[str], template: str) -> Tensor:
        sentences = [prompt_text(template, text) for text in texts]
        keys = [hashlib.sha256((self._scope + line).encode()).digest() for line in sentences]
        missing = dict(zip(keys, sentences, strict=True))
        rows = {key: self._rows[key] for key in missing if key in self._rows}
        if self._disk and len(rows) < len(missing):
            rows |= self._disk.read([key for key in missing if key not in rows])
        missing = {key: line for key, line in missing.items() if key not in rows}
        if missing:
            fresh = self._compute(missing)
            rows |= fresh
            if self._disk:
                self._disk.write(fresh)
        self._remember(rows)
        matrix = np.empty((len(keys), self._model.config.embed_dim), np.float32)
        for row, key in zip(matrix, keys, strict=True):
            row[:] = rows[key]
        return torch.from_numpy(matrix)

    def _compute(self, missing: dict[bytes, str]) -> dict[bytes, NDArray[np.float32]]:
        """Encode in chunks of similar length, so that little padding is computed."""
        items = sorted(missing.items(), key=lambda item: len(item[1]))
        rows: dict[bytes, NDArray[np.float32]] = {}
        for start in range(0, len(items), CHUNK):
            keys, sentences = zip(*items[start : start + CHUNK], strict=True)
            with torch.inference_mode():
                encoded = self._model.encode_text(list(sentences)).float().cpu().numpy()
            rows |= dict(zip(keys, encoded, strict=True))
        return rows

    def _remember(self, rows: dict[bytes, NDArray[np.float32]]) -> None:
        for key, row in rows.items():
            self._rows[key] = row
            self._rows.move_to_end(key)
        while len(self._rows) > MEMORY_TEXTS:
            self._rows.popitem(last=False)


def text_fingerprint(model: DetCLIPv2) -> str:
    """Hex digest of all that `encode_text` depends on."""
    text = model.config.text
    shape = repr((text.arch, text.heads, text.max_tokens))
    return digest(model.text_encoder.state_dict().items(), shape.encode())
