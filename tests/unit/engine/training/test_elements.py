"""Tensors of any layout are compared, measured and made loadable."""

from __future__ import annotations

import copy

import torch
from torch import nn

from torchconsole.engine.training.elements import separate_buffers


def test_a_buffer_of_expand_can_be_loaded() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("places", torch.arange(3).expand(2, 3))
    model.register_buffer("sparse", torch.eye(3).to_sparse())
    model.register_buffer("none", None)
    weight, saved = model.weight, copy.deepcopy(model.state_dict())
    separate_buffers(model)
    model.load_state_dict(saved)
    assert torch.equal(model.get_buffer("places"), torch.arange(3).expand(2, 3))
    assert model.weight is weight
