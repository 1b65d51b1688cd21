"""The families of transformers' zero-shot detectors.

What runs once a picture, what once a list of words, and how a score comes about.

Only what the model classes offer in public is called; nothing is decoded back into text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

_TEXTS = 64
_OMDET_CLASSES = 80
_OMDET_TOKENS = 77


class Family(Protocol):
    """One model with its processor; all calls run in inference mode."""

    def encode(self, inputs: dict[str, Tensor]) -> Any:
        """What the image processor made of one picture → what `score` needs of it."""

    def words(self, texts: Sequence[str]) -> Any:
        """T texts → what `score` needs of them; kept while the vocabulary stays."""

    def score(self, encoded: Any, words: Any) -> tuple[Tensor, Tensor]:
        """Boxes (A, 4), centre, width and height as shares of `extent`, and scores (A, T)."""

    def extent(self, size: tuple[int, int]) -> tuple[int, int]:
        """What the boxes are shares of: the original's (width, height), or with its padding."""


class Owl:
    """OWL-ViT (Minderer et al. 2022) and OWLv2 (2023): every patch a box, every text a query."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._tower = getattr(model, model.base_model_prefix)
        self._tokenizer = processor.tokenizer
        # OWLv2 pads pictures to a square at the right and the bottom, OWL-ViT squeezes them.
        self._square = bool(getattr(processor.image_processor, "do_pad", False))

    def encode(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Patch features (1, A, D) and boxes (A, 4)."""
        maps = self._model.image_embedder(inputs["pixel_values"])[0]
        features = maps.flatten(1, 2)
        return features, self._model.box_predictor(features, maps)[0]

    def words(self, texts: Sequence[str]) -> Tensor:
        """(1, T, D)."""
        length = self._model.config.text_config.max_position_embeddings
        parts = []
        for start in range(0, len(texts), _TEXTS):
            tokens = self._tokenizer(
                list(texts[start : start + _TEXTS]),
                padding="max_length",
                truncation=True,
                max_length=length,
                return_tensors="pt",
            ).to(self._model.device)
            parts.append(
                self._tower.get_text_features(
                    tokens["input_ids"], tokens["attention_mask"]
                ).pooler_output
            )
        return torch.cat(parts)[None]

    def score(self, encoded: tuple[Tensor, Tensor], words: Tensor) -> tuple[Tensor, Tensor]:
        """All texts in one pass."""
        features, boxes = encoded
        return boxes, self._model.class_predictor(features, words)[0][0].sigmoid()

    def extent(self, size: tuple[int, int]) -> tuple[int, int]:
        """The padded square, or the picture."""
        return (max(size), max(size)) if self._square else size


@dataclass(frozen=True, eq=False)
class _Sentence:
    """Tokens of texts run together, and (T, L) which share of a text's score a token has."""

    tokens: dict[str, Tensor]
    shares: Tensor


class GroundingDino:
    """Grounding DINO (Liu et al. 2023): one sentence of names, "cat. red mug.", as many as fit.

    A name's score is the mean over its tokens, as in the authors' COCO evaluation. Which tokens are
    a name's is known from its place in the sentence.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._tokenizer = processor.tokenizer

    def encode(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The pixels: from the first layer on the image tower's features meet the words."""
        return inputs

    def words(self, texts: Sequence[str]) -> list[_Sentence]:
        """Sentences that fit the model."""
        # The model keeps names apart at these signs, so they must not stand inside one.
        names = [text.lower().replace(".", " ").replace("?", " ").strip() for text in texts]
        room = self._model.config.max_text_len - 2
        lengths = [len(self._tokenizer(n, add_special_tokens=False)["input_ids"]) for n in names]
        groups: list[list[str]] = []
        used = room + 1
        for name, length in zip(names, lengths, strict=True):
            used += length + 1
            if used > room:
                groups.append([])
                used = length + 1
            groups[-1].append(name)
        return [self._sentence(group) for group in groups]

    def _sentence(self, names: Sequence[str]) -> _Sentence:
        tokens = self._tokenizer(
            ". ".join(names) + ".",
            return_tensors="pt",
            return_offsets_mapping=True,
            return_token_type_ids=True,
            truncation=True,
            max_length=self._model.config.max_text_len,
        )
        begins, ends = tokens.pop("offset_mapping")[0].unbind(-1)
        start, rows = 0, []
        for name in names:
            stop = start + len(name)
            rows.append((begins >= start) & (ends <= stop) & (ends > begins))
            start = stop + 2
        inside = torch.stack(rows).float()
        shares = inside / inside.sum(1, keepdim=True).clamp(min=1)
        device = self._model.device
        return _Sentence({k: v.to(device) for k, v in tokens.items()}, shares.to(device))

    def score(
        self, encoded: dict[str, Tensor], words: Sequence[_Sentence]
    ) -> tuple[Tensor, Tensor]:
        """One pass a sentence; its boxes are compared with its names only."""
        boxes, blocks = [], []
        for sentence in words:
            out = self._model(**encoded, **sentence.tokens)
            length = sentence.shares.shape[1]
            blocks.append(out.logits[0, :, :length].sigmoid() @ sentence.shares.T)
            boxes.append(out.pred_boxes[0])
        return torch.cat(boxes), _apart(blocks)

    def extent(self, size: tuple[int, int]) -> tuple[int, int]:
        """The picture."""
        return size


class OmDetTurbo:
    """OmDet-Turbo (Zhao et al. 2024): the words meet the picture in the decoder.

    The decoder reads a sentence with all names, of which too many would be cut off.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._tokenizer = processor.tokenizer

    def encode(self, inputs: dict[str, Tensor]) -> Any:
        """The encoder's maps."""
        features = self._model.vision_backbone(inputs["pixel_values"])
        return self._model.encoder(features, return_dict=True).extracted_states

    def words(self, texts: Sequence[str]) -> list[Any]:
        """Names' vectors, the sentence's vectors and its mask, for some names at a time."""
        parts = []
        for start in range(0, len(texts), _OMDET_CLASSES):
            names = list(texts[start : start + _OMDET_CLASSES])
            classes, task = self._tokens(names), self._tokens([f"Detect {', '.join(names)}."])
            parts.append(
                self._model.get_language_embedding(
                    classes["input_ids"],
                    classes["attention_mask"],
                    task["input_ids"],
                    task["attention_mask"],
                    torch.tensor([len(names)]),
                )
            )
        return parts

    def _tokens(self, texts: list[str]) -> Any:
        return self._tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=_OMDET_TOKENS,
            return_tensors="pt",
        ).to(self._model.device)

    def score(self, encoded: Any, words: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """One pass of the decoder for each group of names."""
        outs = [self._model.decoder(encoded, *part, return_dict=True) for part in words]
        boxes = torch.cat([out.decoder_coords[-1][0] for out in outs])
        return boxes, _apart([out.decoder_classes[-1][0].sigmoid() for out in outs])

    def extent(self, size: tuple[int, int]) -> tuple[int, int]:
        """The picture."""
        return size


def _apart(blocks: Sequence[Tensor]) -> Tensor:
    """Scores of groups of boxes with groups of texts in one matrix, 0 where they never met."""
    return torch.block_diag(*blocks)  # type: ignore[no-untyped-call]


FAMILIES: dict[str, type[Owl] | type[GroundingDino] | type[OmDetTurbo]] = {
    "owlvit": Owl,
    "owlv2": Owl,
    "grounding-dino": GroundingDino,
    "mm-grounding-dino": GroundingDino,
    "omdet-turbo": OmDetTurbo,
}
"""By `model_type` of transformers' configurations."""
