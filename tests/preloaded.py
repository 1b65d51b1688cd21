"""What the processes of `tests.processes` find imported."""

import torch
import torch.distributed.fsdp
import torch.distributed.launcher.api
import torch.utils.tensorboard
import transformers.models.bert.modeling_bert  # noqa: F401

import train.evaluate
import train.pretrain  # noqa: F401
from detclipv2.language.phrases import noun_phrases

torch.set_num_threads(1)
noun_phrases("a cat")
