"""The text tower: every concept is its own sentence, encoded alone (paper §3.1)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from detclipv2.config import TextConfig
from detclipv2.hub import files_of

_CLIP_BOS, _CLIP_EOS = 49406, 49407


def locate(source: str) -> str:
    """Folder of a text tower: that of an installed package that carries one, or a local folder.

    Anything else is returned as it is: a hub id, which transformers looks for in its cache.
    """
    if "/" not in source and (spec := importlib.util.find_spec(source)) and spec.origin:
        return str(Path(spec.origin).parent / "model")
    return source


class TextEncoder(nn.Module):
    """transformers' CLIP or BERT text tower, pooled and projected to unit vectors of width D."""

    def __init__(self, config: TextConfig, embed_dim: int) -> None:
        super().__init__()
        self.config = config
        self.tower = _build_tower(config)
        self.projection = nn.Linear(config.width, embed_dim, bias=False)
        if config.frozen:
            self.tower.requires_grad_(False).eval()
        self._tokenizer: Any = None

    @property
    def tokenizer(self) -> Any:
        """The tower's tokenizer, opened at first use."""
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(files_of(locate(self.config.source)))
        return self._tokenizer

    def load_pretrained(self) -> None:
        """Take the tower's weights from `config.source`.

        Raises:
            OSError: neither an installed package, nor a folder, nor a hub id whose files are here
                (see `hub.may_download`); or weights of another architecture.
        """
        own = self.tower.state_dict()
        file = Path(locate(self.config.source)) / "model.safetensors"
        if file.is_file():
            # CLIP's files hold both towers, the text's under a name of its own.
            given = {k.removeprefix("text_model."): t for k, t in load_file(file).items()}
        else:
            from transformers import AutoModel, CLIPTextModel

            kind = CLIPTextModel if self.config.arch == "clip" else AutoModel
            given = kind.from_pretrained(files_of(self.config.source)).state_dict()
        if missing := sorted(own.keys() - given.keys()):
            raise OSError(f"{self.config.source} has no {missing[0]!r}; it is another architecture")
        self.tower.load_state_dict({name: given[name] for name in own})

    def train(self, mode: bool = True) -> TextEncoder:
        """As usual; a frozen tower stays in evaluation."""
        super().train(mode)
        if self.config.frozen:
            self.tower.eval()
        return self

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask, both (K, L); L is the longest's length, ≤ max_tokens."""
        tokens = self.tokenizer(
            list(texts),
            padding="longest",
            truncation=True,
            max_length=self.config.max_tokens,
            return_tensors="pt",
        )
        return tokens["input_ids"], tokens["attention_mask"]

    def read(self, texts: Sequence[str]) -> list[tuple[tuple[int, ...], str]]:
        """For each text the token ids that the tower reads, and the words that it does not."""
        tokens = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.config.max_tokens,
            return_offsets_mapping=True,
        )
        read = []
        for text, ids, spans in zip(
            texts, tokens["input_ids"], tokens["offset_mapping"], strict=True
        ):
            end = max(end for _, end in spans)
            if end < len(text) and text[end - 1 : end + 1].isalnum():  # a word read in part
                end = text.rfind(" ", 0, end) + 1
            read.append((tuple(ids), text[end:].strip()))
        return read

    def pooled(self, texts: Sequence[str]) -> Tensor:
        """K texts → (K, width): one vector a text, before the projection.

        A frozen tower's give no gradient and may be kept.
        """
        device = next(self.tower.parameters()).device
        ids, mask = (t.to(device) for t in self.tokenize(texts))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.frozen):
            hidden = self.tower(input_ids=ids, attention_mask=mask).last_hidden_state
            return F.normalize(self._pool(hidden, mask), dim=-1)

    def project(self, pooled: Tensor) -> Tensor:
        """(K, width) → (K, D) unit vectors."""
        return F.normalize(self.projection(pooled), dim=-1)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """K texts → (K, D) unit vectors."""
        return self.project(self.pooled(texts))

    def init_projection(self, pooled: Tensor) -> None:
        """Begin the projection at the D principal directions of (N, width) pooled texts.

        What tells the concepts of the world apart then survives the narrowing from the start.
        """
        # Not centred: the common direction carries what all concepts share.
        _, _, directions = torch.linalg.svd(pooled, full_matrices=False)
        with torch.no_grad():
            self.projection.weight.copy_(directions[: self.projection.weight.shape[0]])

    def _pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        if self.config.arch == "clip":
            # The end-of-sentence token is the last that is not padding.
            return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
        weight = mask[..., None].to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1)


def _build_tower(config: TextConfig) -> nn.Module:
    from transformers import BertConfig, BertModel, CLIPTextConfig, CLIPTextModel

    shape: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.intermediate,
        "max_position_embeddings": config.positions,
    }
    if config.arch == "clip":
        clip = CLIPTextConfig(**shape, bos_token_id=_CLIP_BOS, eos_token_id=_CLIP_EOS)
        return CLIPTextModel(clip)
    return BertModel(BertConfig(**shape), add_pooling_layer=False)
