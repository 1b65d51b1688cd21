"""Concepts on their way to the text tower: prompts, and what a frozen tower need not do twice."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from detclipv2.digest import digest
from detclipv2.language.concepts import ConceptDictionary
from detclipv2.language.definitions import Definitions
from detclipv2.language.embedding_file import EmbeddingFile
from detclipv2.language.sentence import prompt_text
from detclipv2.model import DetCLIPv2
from train.data.sample import Sample
from train.data.shards.reader import Shards

logger = logging.getLogger(__name__)
_CHUNK = 256

Encode = Callable[[Sequence[str]], Tensor | list[str]]
"""Texts → what the model takes as concepts: pooled vectors of a frozen text tower, or prompts."""


class Texts:
    """Prompts of a trainable text tower, or kept vectors of a frozen one.

    Args:
        model: with its pretrained text tower.
        cache_dir: where a frozen tower's vectors are kept for other runs; None keeps none.
        device: where the vectors are wanted; by default on the CPU.
    """

    def __init__(
        self, model: DetCLIPv2, cache_dir: Path | None = None, device: torch.device | None = None
    ) -> None:
        self._text, self._device = model.text_encoder, device or torch.device("cpu")
        text = model.config.text
        self._template, self.frozen = text.template, text.frozen
        self._disk: EmbeddingFile | None = None
        if self.frozen and cache_dir is not None:
            self._disk = EmbeddingFile(cache_dir, text.width)
            # With the sentence, this is the whole key.
            shape = repr(("pooled", text.arch, text.heads, text.max_tokens))
            self._scope = digest(self._text.tower.state_dict().items(), shape.encode())
        self._vectors = torch.zeros(0)
        self._row: dict[str, int] = {}

    def keep(self, texts: Iterable[str]) -> Tensor:
        """Encode a frozen tower's texts ahead; (K, width) of the distinct ones, in their order."""
        prompts = list(dict.fromkeys(prompt_text(self._template, text) for text in texts))
        vectors = self._look_up(prompts)
        self._vectors = vectors.to(self._device)
        self._row = {prompt: index for index, prompt in enumerate(prompts)}
        return vectors

    def __call__(self, texts: Sequence[str]) -> Tensor | list[str]:
        """What the model takes; a frozen tower encodes now what was not kept."""
        prompts = [prompt_text(self._template, text) for text in texts]
        if not self.frozen:
            return prompts
        rows = [self._row.get(prompt, -1) for prompt in prompts]
        if missing := [p for p, row in zip(prompts, rows, strict=True) if row < 0]:
            fresh = torch.cat(
                [self._pool(missing[i : i + _CHUNK]) for i in range(0, len(missing), _CHUNK)]
            )
            source = torch.cat((self._vectors.to(fresh), fresh)) if len(self._vectors) else fresh
            new = iter(range(len(self._vectors), len(source)))
            return source[[next(new) if row < 0 else row for row in rows]]
        return self._vectors[rows]

    def enriched(self, dictionary: ConceptDictionary, names: Sequence[str]) -> Encode:
        """The same, with every name followed by its definition.

        Whose definition an unknown one of `names` borrows is asked now: to be called before the
        tower learns, goes on from a checkpoint or is sharded, so that the answer stays the same.
        Unknown names that come later get no definition.
        """
        definitions = Definitions(dictionary, self.plain)
        definitions.settle(names)
        return lambda texts: self(definitions.enrich_all(texts))

    def plain(self, texts: Sequence[str]) -> Tensor:
        """(K, width) pooled vectors of the texts in their template, on the CPU."""
        return self._look_up([prompt_text(self._template, text) for text in texts])

    def _look_up(self, prompts: Sequence[str]) -> Tensor:
        """(K, width) on the CPU; what the disk lacks is encoded and written there."""
        known: dict[str, Tensor] = {}
        if self._disk is not None:
            keys = {hashlib.sha256(f"{self._scope}\0{p}".encode()).digest(): p for p in prompts}
            rows = self._disk.read(list(keys))
            known = {keys[key]: torch.from_numpy(row.copy()) for key, row in rows.items()}
        # By length, so that little padding is computed.
        if missing := sorted(set(prompts) - known.keys(), key=lambda prompt: (len(prompt), prompt)):
            logger.info("encoding %d texts once", len(missing))
            for first in range(0, len(missing), _CHUNK):
                chunk = missing[first : first + _CHUNK]
                known.update(zip(chunk, self._pool(chunk).float().cpu(), strict=True))
            if self._disk is not None:
                fresh = {key: known[p].numpy() for key, p in keys.items() if key not in rows}
                self._disk.write(fresh)
        return torch.stack([known[prompt] for prompt in prompts])

    @torch.no_grad()
    def _pool(self, prompts: Sequence[str]) -> Tensor:
        return self._text.pooled(prompts)


def known_texts(streams: Sequence[Sequence[Sample]]) -> dict[str, None]:
    """Every text of the samples; of shards, which are read as they come, none."""
    found: dict[str, None] = {}
    for samples in streams:
        if isinstance(samples, Shards):
            continue
        for sample in samples:
            found.update(dict.fromkeys(sample.concepts))
            if sample.caption:
                found[sample.caption] = None
    return found
