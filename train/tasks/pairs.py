"""Learning from image-text pairs: words find their regions, pairs are told apart (paper §3.2).

With `micro_batch` the batch is as large as one likes in fixed memory (gradient caching): first all
embeddings without gradient, then the loss and its gradient at the embeddings, then every part again
with gradient, going back from there. The result is the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detclipv2.config import ModelConfig
from detclipv2.learning.alignment import text_image_similarity
from detclipv2.learning.contrastive import contrastive_loss
from detclipv2.learning.proposals import largest_region, objectness, select_regions
from detclipv2.regions import Regions
from train.data.loader import Batch
from train.loop.backprop import Backprop
from train.loop.distributed import Replica
from train.tasks.batch_words import Words, alike, collect_words, repeated
from train.tasks.boxes import normalise, untouched
from train.tasks.pairs_config import PairsConfig
from train.tasks.text_encoding import Encode


class PairsTask:
    """Image-text pairs, and photos with image-level names as pairs of them.

    Args:
        replica: the network.
        model: its configuration.
        encode: texts to concepts.
        config: see there.
    """

    def __init__(
        self, replica: Replica, model: ModelConfig, encode: Encode, config: PairsConfig
    ) -> None:
        self._replica, self._model, self._encode, self._config = replica, model, encode, config

    def __call__(self, batch: Batch, backprop: Backprop) -> dict[str, Tensor]:
        """The weighted loss of the batch of all processes; its gradient has been handed over."""
        device = self._replica.world.device
        said = [self._config.texts(view) for view in batch.views]
        words = collect_words(said, [view.photo for view in batch.views], device)
        concepts = self._encode(words.texts)
        pixels = batch.pixels
        size = self._config.micro_batch
        if 0 < size < len(pixels):
            loss = self._cached(torch.split(pixels, size), concepts, words, backprop)
        else:
            with self._replica.last(True):
                regions, embedded, bias = self._replica(self._ready(pixels), concepts)
                chosen, present = self._choose(regions, embedded, bias, words, 0, len(pixels))
                kept = keep(regions, chosen)
                loss = self._loss(kept, present, embedded, bias, words)
                backprop(loss + untouched(regions) + 0 * bias)
        return {"contrast": loss.detach()}

    def _cached(
        self,
        parts: Sequence[Tensor],
        concepts: Tensor | list[str],
        words: Words,
        backprop: Backprop,
    ) -> Tensor:
        # The words go with the first part, whose gradient comes last: in data-parallel training
        # all parameters must take part in the pass that exchanges gradients.
        choices, kepts, states = [], [], []
        embedded = bias = None
        with torch.no_grad():
            total = sum(map(len, parts))
            for index, part in enumerate(parts):
                states.append(_random_state())
                regions, given, shift = self._replica(
                    self._ready(part), concepts if index == 0 else None
                )
                if given is not None:
                    embedded, bias = given, shift
                choice = self._choose(regions, embedded, bias, words, len(parts[0]) * index, total)
                choices.append(choice)
                kepts.append(keep(regions, choice[0]))
        assert embedded is not None and bias is not None
        leaf, embedded = torch.cat(kepts).requires_grad_(), embedded.requires_grad_()
        present = torch.cat([there for _, there in choices])
        loss = self._loss(leaf, present, embedded, bias, words)
        backprop(loss)
        gradients = torch.split(_gradient(leaf), [len(part) for part in parts])
        after = _random_state()
        for index in [*range(1, len(parts)), 0]:
            _set_random_state(states[index])
            with self._replica.last(index == 0):
                regions, again, shift = self._replica(
                    self._ready(parts[index]), concepts if index == 0 else None
                )
                outputs = [keep(regions, choices[index][0]), untouched(regions) + 0 * shift]
                given = [gradients[index], torch.zeros_like(outputs[1])]
                if again is not None and again.requires_grad:
                    outputs.append(again)
                    given.append(_gradient(embedded))
                backprop.resume(outputs, given)
        _set_random_state(after)
        return loss

    def _ready(self, pixels: Tensor) -> Tensor:
        return normalise(pixels.to(self._replica.world.device), self._model.image)

    @torch.no_grad()
    def _choose(
        self,
        regions: Regions,
        embedded: Tensor | None,
        bias: Tensor | None,
        words: Words,
        first: int,
        photos: int,
    ) -> tuple[Tensor, Tensor]:
        """(b, k) anchors and which of them are there, of the photos from `first` on."""
        assert embedded is not None and bias is not None
        config = self._config
        own = words.own(photos)
        rows = []
        for index, region in enumerate(regions.embeddings.detach()):
            one = slice(index, index + 1)
            rows.append(
                objectness(
                    config.objectness,
                    centerness=regions.centerness[one],
                    scores=(region @ embedded.detach().T + bias)[None],
                    own=own[first + index][None],
                    foreground=None if regions.foreground is None else regions.foreground[one],
                    iou=None if regions.iou is None else regions.iou[one],
                )
            )
        ranking = torch.cat(rows)
        boxes = regions.boxes.detach()
        chosen, present = select_regions(boxes, ranking, config.k, nms_iou=config.nms_iou)
        if config.region == "largest":
            return largest_region(boxes, chosen, present)
        return chosen, present

    def _loss(
        self, kept: Tensor, present: Tensor, embedded: Tensor, bias: Tensor, words: Words
    ) -> Tensor:
        """λ · L_cts over the photos and texts of all processes.

        Args:
            kept: (B, R, D) embeddings of the local proposals.
            present: (B, R).
            embedded: (U, D) the local distinct texts.
            bias: of the similarity; it cancels in the loss, not in the support of a phrase.
            words: the local ones.
        """
        config, world = self._config, self._replica.world
        photos, device = len(kept), kept.device
        local = repeat_rows(embedded, words.text).float()
        weight = self._support(kept, present, local, bias, words)
        everyone = world.objects(
            (words.names, words.photo.tolist(), [words.texts[i] for i in words.text.tolist()])
        )
        offsets = [sum(len(part[0]) for part in everyone[:rank]) for rank in range(world.size)]
        owner = torch.tensor(
            [o + p for o, part in zip(offsets, everyone, strict=True) for p in part[1]],
            dtype=torch.long,
            device=device,
        )
        texts = sum(len(part[0]) for part in everyone)
        scores = text_image_similarity(
            kept.float(),
            present,
            world.rows(local),
            owner,
            texts,
            matching=config.matching,
            temperature=config.match_temperature,
            weight=world.rows(weight),
            chunk=config.chunk,
        )
        counted = torch.zeros(texts, device=device).index_add(0, owner, world.rows(weight)) > 0
        first = offsets[world.rank]
        phrases = [phrase for part in everyone for phrase in part[2]]
        same = alike([name for part in everyone for name in part[0]], owner.tolist(), phrases)[
            :, first : first + photos
        ].to(device)
        rows = int(counted.sum())
        loss = kept.sum() * 0
        halves = 2 if config.side == "both" else 1
        if config.side in ("text_to_image", "both"):
            target = torch.arange(texts, device=device) - first
            target = torch.where((target >= 0) & (target < photos), target, -1)
            loss = loss + contrastive_loss(
                scores,
                target,
                temperature=config.temperature,
                smoothing=config.smoothing,
                same=same,
                weight=counted.float(),
                total=world.sum,
                largest=world.max,
            ) / (halves * max(1, rows))
        if config.side in ("image_to_text", "both"):
            mine = torch.arange(photos, device=device)
            left_out = ~counted | repeated(texts, owner.tolist(), phrases).to(device)
            # Rows are this process's own; their sum is what all would have.
            loss = loss + world.sum(
                contrastive_loss(
                    scores.T,
                    mine + first,
                    temperature=config.temperature,
                    smoothing=config.smoothing,
                    same=same.T | left_out,
                    weight=counted[first : first + photos].float(),
                )
            ) / (halves * max(1, rows))
        return config.weight * loss

    def _support(
        self, kept: Tensor, present: Tensor, local: Tensor, bias: Tensor, words: Words
    ) -> Tensor:
        """(P,) how much each local phrase counts: all the same, or by its best region's score."""
        config = self._config
        if not config.support or not len(local):
            return local.new_ones(len(local))
        with torch.no_grad():
            scores = torch.einsum("prd,pd->pr", kept[words.photo].float(), local) + bias
            best = scores.masked_fill(~present[words.photo], float("-inf")).amax(dim=1).sigmoid()
            return (best >= config.support).float() if config.noise == "drop" else best


def keep(regions: Regions, chosen: Tensor) -> Tensor:
    """(B, k, D) embeddings of the chosen anchors; only these carry the gradient."""
    width = regions.embeddings.shape[-1]
    return regions.embeddings.gather(1, chosen[..., None].expand(-1, -1, width))


def repeat_rows(rows: Tensor, index: Tensor) -> Tensor:
    """rows[index], with a gradient that several CPU threads add up in one order; theirs do not."""
    return rows.index_select(0, index)


def _gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _random_state() -> tuple[Tensor, list[Tensor]]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), cuda


def _set_random_state(state: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
