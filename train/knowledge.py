"""Give a trained detector the classifier that its backbone came with; see `nn.knowledge`."""

from __future__ import annotations

import dataclasses

import torch

from detclipv2.language.embeddings import prompt_text
from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import Backbone, imagenet_weights, load_imagenet
from detclipv2.nn.knowledge import imagenet_names

_STRENGTH = 0.8


def with_knowledge(model: DetCLIPv2, weights_from: str = "package") -> DetCLIPv2:
    """A copy of `model` with its backbone's classifier attached, as ImageNet left it.

    Where training changed the stages after C4, the classifier gets these as they were.

    Args:
        model: a trained detector with a frozen text tower.
        weights_from: see `imagenet_weights`.

    Raises:
        ValueError: training changed earlier stages, whose features the classifier no longer knows.
    """
    weights = imagenet_weights(model.config.backbone, weights_from)
    untouched = Backbone(model.config.backbone)
    load_imagenet(untouched, weights)
    late = {id(p) for p in untouched.after_c4.state_dict(keep_vars=True).values()}
    own_late = False
    for name, tensor in untouched.state_dict(keep_vars=True).items():
        # Checkpoints hold halves.
        if not torch.allclose(tensor, model.backbone.state_dict()[name], rtol=1e-3, atol=1e-4):
            if id(tensor) not in late:
                raise ValueError(
                    f"training changed the backbone ({name}), so its ImageNet classifier no longer "
                    "fits; train with all stages up to C4 frozen"
                )
            own_late = True
    grown = DetCLIPv2(dataclasses.replace(model.config, knowledge=True, knowledge_late=own_late))
    grown.load_state_dict(model.state_dict(), strict=False)
    prompts = [prompt_text(model.config.text.template, name) for name in imagenet_names()]
    with torch.no_grad():
        parts = [model.text.pooled(prompts[i : i + 64]) for i in range(0, len(prompts), 64)]
        assert grown.knowledge is not None
        grown.knowledge.strength.fill_(_STRENGTH)
        if grown.knowledge.late is not None:
            grown.knowledge.late.load_state_dict(untouched.after_c4.state_dict())
    grown.knowledge.load(weights, torch.cat(parts))
    return grown.eval()
