"""Names with their definitions, "mug, with handle and usually cylindrical": paper v1's form.

Training says so in the checkpoint (`TextConfig.definitions`), and evaluation asks in the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor

from detclipv2.language.concepts import ConceptDictionary
from detclipv2.language.sentence import prompt_text

_CHUNK = 256


class Definitions:
    """Looks definitions up, and borrows that of the nearest name for what is not in the dictionary.

    A name is in the dictionary if it or its head noun is ("two red mugs" → "mug").
    """

    def __init__(
        self, dictionary: ConceptDictionary, encode: Callable[[Sequence[str]], Tensor]
    ) -> None:
        """Look up in `dictionary`.

        Args:
            dictionary: names and definitions.
            encode: texts → (K, D), for example `TextEmbeddings.encode`, whose cache then keeps the
                dictionary's rows. Called once with all names when the first unknown name comes.
        """
        self._dictionary, self._encode = dictionary, encode
        self._rows: Tensor | None = None
        self._borrowed: dict[str, str] = {}
        self._settled = False

    def enrich(self, name: str) -> str:
        """Write "name, definition"; a name that has a comma already stays as it is."""
        return self.enrich_all([name])[0]

    def enrich_all(self, names: Sequence[str]) -> list[str]:
        """`enrich` of each name; the unknown ones are encoded together."""
        if not self._settled:
            self._borrow([name for name in names if self._own(name) is None])
        enriched = []
        for name in names:
            own = self._own(name)
            definition = self._borrowed.get(_plain(name), "") if own is None else own
            enriched.append(f"{name.strip()}, {definition}" if definition else name)
        return enriched

    def settle(self, names: Sequence[str]) -> None:
        """Borrow for `names` now; unknown names that come later stay without a definition."""
        self.enrich_all(names)
        self._settled = True

    def encode(self, names: Sequence[str]) -> Tensor:
        """(K, D) embeddings of the enriched names."""
        return self._encode(self.enrich_all(names))

    def nearest(self, names: Sequence[str]) -> list[str]:
        """For each text the dictionary's name with the most similar embedding."""
        known = self._dictionary.names
        if self._rows is None:
            self._rows = F.normalize(self._encode(known).float(), dim=-1)
        # A positive scale of a text's row does not change which name is nearest.
        similarity = self._encode(names).float() @ self._rows.T
        return [known[index] for index in similarity.argmax(dim=1).tolist()]

    def _own(self, name: str) -> str | None:
        plain = _plain(name)
        if not plain or "," in plain:
            return ""
        concept = self._dictionary.find(plain)
        return concept.definition if concept else None

    def _borrow(self, names: Sequence[str]) -> None:
        missing = list(dict.fromkeys(p for n in names if (p := _plain(n)) not in self._borrowed))
        for first in range(0, len(missing), _CHUNK):
            chunk = missing[first : first + _CHUNK]
            for name, near in zip(chunk, self.nearest(chunk), strict=True):
                concept = self._dictionary.find(near)
                self._borrowed[name] = concept.definition if concept else ""


def _plain(name: str) -> str:
    return prompt_text("{}", name)
