"""Each process holds a part of every weight, gradient and optimizer state: torch's `fully_shard` (FSDP2).

All processes begin with the whole model. `shard_training` gives them the leader's weights, and then shards in
place: the parameters become DTensors, split along their first dimension. What computes a block gathers its
weights before, and frees them after. All else, such as buffers, each process has whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import SGD, Optimizer

from torchconsole.engine.components.penalty import build_penalty
from torchconsole.engine.components.shards import SHARDS, fill, local, take_shards
from torchconsole.engine.config.together import DDP
from torchconsole.engine.distributed.failures import is_lost_process
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.text import error_summary
from torchconsole.engine.training.precision import AUTOCAST
from torchconsole.engine.training.preserve import preserve
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.train_state import TrainState, UnreadParts
from torchconsole.engine.training.trial import first_batch, forward_and_backward

if TYPE_CHECKING:
    from torchconsole.engine.distributed.job import Job

SMALLEST = 0.1
"""A block with fewer parameters than this share of the largest one is not worth its own messages."""

CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)

FAILURES = (ComponentError, NotImplementedError, RuntimeError, ValueError, TypeError, AssertionError)
"""What torch raises for a model or an optimizer that it cannot shard, and a trial step for others."""


def shard_training(job: Job, setup: TrainingSetup, state: TrainState) -> None:
    """Give all processes the leader's state, and have each keep its part of it.

    All must call this once they have joined the process group. Raises ComponentError, which says what to do,
    if torch cannot shard the model or its optimizer.
    """
    _share(job, setup, state)
    modules = [setup.model, *([setup.ema.module] if setup.ema else [])]
    for module in modules:
        for parameter in module.parameters():
            _broadcast(parameter.detach())
    job.share_buffers(*modules)
    before = {id(weight): name for name, weight in setup.model.named_parameters()}
    mesh = init_device_mesh(setup.device.type, (job.size,))
    try:
        for module in modules:
            _shard(module, mesh, setup)
        _shard_optimizer(job, setup, before)
        if state.unread:
            _read_parts(setup.optimizer, state.unread)
            state.unread = None
        setup.penalty = build_penalty(setup.model, setup.preset.loss)
        if setup.ema:
            setup.ema.follow(setup.model)
        job.sharding = Sharding(setup.model)
        _try(setup, job.sharding)
    except FAILURES as error:
        if is_lost_process(cause := error.__cause__ or error) or isinstance(cause, torch.OutOfMemoryError):
            raise cause from error
        reason = str(error) if isinstance(error, ComponentError) else error_summary(error)
        raise ComponentError(
            f'distributed.strategy: "fsdp" cannot train this model: {reason}; {DDP[3:]}'
        ) from error


class Sharding:
    """What a sharded model needs of its processes before each forward pass in training."""

    def __init__(self, model: nn.Module) -> None:
        assert isinstance(model, FSDPModule)
        self._model = model
        self._buffers: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for buffer in model.buffers():
            if buffer.layout == torch.strided:  # a sparse one is a constant, and cannot be sent
                self._buffers.setdefault((buffer.device, buffer.dtype), []).append(buffer)
        self._begins = True

    def synchronize(self, is_last: bool) -> None:
        """See `Ranks`. As with DDP, the buffers of all are the leader's when a step begins."""
        if self._begins:
            for buffers in self._buffers.values():
                _broadcast_together(buffers)
        self._begins = is_last
        self._model.set_requires_gradient_sync(is_last)


def blocks(model: nn.Module) -> list[nn.Module]:
    """Return the parts of a model whose weights are gathered together, each on its own; the rest is one more.

    These are what a ModuleList, ModuleDict or Sequential holds, such as the layers of a transformer. One with
    more than half of all weights is looked into. Left out are small ones, and those that share a weight with
    the rest.
    """
    found = list(_candidates(model, _size(model)))
    largest = max(map(_size, found), default=0)
    owners = _owners(model)
    return [
        block for block in found if _size(block) >= SMALLEST * largest and not _shares_weights(block, owners)
    ]


def _candidates(module: nn.Module, total: int) -> Iterator[nn.Module]:
    for child in module.children():
        is_block = isinstance(module, CONTAINERS) and not isinstance(child, CONTAINERS) and _size(child) > 0
        if is_block and (_size(child) <= total / 2 or not any(_candidates(child, total))):
            yield child
        else:
            yield from _candidates(child, total)


def _size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _shares_weights(block: nn.Module, owners: Counter[int]) -> bool:
    """Whether a module outside of a block has one of its weights too."""
    return any(owners[weight] != count for weight, count in _owners(block).items())


def _owners(model: nn.Module) -> Counter[int]:
    """Count the modules that have each weight."""
    return Counter(id(weight) for module in model.modules() for weight in module.parameters(recurse=False))


def _shard(model: nn.Module, mesh: DeviceMesh, setup: TrainingSetup) -> None:
    offload = CPUOffloadPolicy() if setup.preset.distributed.cpu_offload else OffloadPolicy()
    own = set(model.modules())
    for block in blocks(model):
        own -= set(block.modules())
        policy = _policy(set(block.modules()), setup)
        fully_shard(block, mesh=mesh, mp_policy=policy, offload_policy=offload, reshard_after_forward=True)
    # By default the root keeps its weights after a forward pass, so that they would be whole after an
    # evaluation; commands and checkpoints expect them as parameters that are sharded.
    policy = _policy(own, setup)
    fully_shard(model, mesh=mesh, mp_policy=policy, offload_policy=offload, reshard_after_forward=True)


def _policy(modules: set[nn.Module], setup: TrainingSetup) -> MixedPrecisionPolicy:
    """Gather weights in the format of mixed precision; autocast chooses that of each operation, as always.

    Batch normalization takes no weights in another format than that of its running statistics.
    """
    low = AUTOCAST.get(setup.precision.name)
    if any(getattr(module, "running_mean", None) is not None for module in modules):
        low = None
    return MixedPrecisionPolicy(
        param_dtype=low, reduce_dtype=torch.float32 if low else None, cast_forward_inputs=False
    )


def _share(job: Job, setup: TrainingSetup, state: TrainState) -> None:
    """Give all processes the leader's state, but for parameters and what the optimizer knows of each."""
    if job.leads:
        full = state.state_dict()
        full |= {"model": _without(full["model"], setup.model), "optimizer": _without_tensors(setup, full)}
        if setup.ema:
            full["ema"] = {"module": _without(full["ema"]["module"], setup.ema.module)}
        job.share_state(full | {"unread": state.unread and state.unread._asdict()})
        return
    shared = job.share_state(None)
    shared["model"] = setup.model.state_dict() | shared["model"]
    if setup.ema:
        shared["ema"] = {"module": setup.ema.module.state_dict() | shared["ema"]["module"]}
    state.load_state_dict(shared)
    if shared["unread"]:
        state.unread = UnreadParts(**shared["unread"])


def _without(weights: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return {name: value for name, value in weights.items() if name not in names}


def _without_tensors(setup: TrainingSetup, full: dict[str, Any]) -> dict[str, Any]:
    weights = [weight for group in setup.optimizer.param_groups for weight in group["params"]]
    state = {
        number: {name: None if _is_like(value, weights[number]) else value for name, value in values.items()}
        for number, values in full["optimizer"]["state"].items()
    }
    return {**full["optimizer"], "state": state}


def _is_like(value: object, weight: Tensor) -> bool:
    """Whether something in the state of an optimizer has an element for each of a weight's."""
    return isinstance(value, Tensor) and value.shape == weight.shape


def _shard_optimizer(job: Job, setup: TrainingSetup, before: dict[int, str]) -> None:
    """Have the optimizer train the sharded parameters, and shard what the leader's knows of each."""
    optimizer, after = setup.optimizer, dict[str, Any](setup.model.named_parameters())
    if isinstance(optimizer, SGD):
        for group in (optimizer.defaults, *optimizer.param_groups):
            group["fused"] = False  # torch has no fused step of it for sharded weights
    known = dict(optimizer.state)
    optimizer.state.clear()
    for group in optimizer.param_groups:
        for number, old in enumerate(group["params"]):
            new = group["params"][number] = after[before[id(old)]]
            values = known.get(old, {})
            own = {name: value.dtype for name, value in values.items() if _is_like(value, old)}
            for name, dtype in job.of_leader(own).items():
                values[name] = _part(values[name] if job.leads else None, dtype, new, setup.device)
            if values:
                optimizer.state[new] = values


def _read_parts(optimizer: Optimizer, unread: UnreadParts) -> None:
    """Give the optimizer this process's part of what it knew of each weight. Raises CheckpointError."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    known: dict[Any, dict[str, Any]] = {number: {} for number in range(len(weights))}
    like: dict[Any, dict[str, Any]] = {number: {} for number in range(len(weights))}
    for _, _, number, name in unread.places.values():
        like[number][str(name)] = weights[int(number)]
    state = {SHARDS: unread.places, "optimizer": {"state": known}}
    fill(state, Path(unread.folder), like={"optimizer": {"state": like}})
    for number, values in known.items():
        if values:
            optimizer.state[weights[number]].update(values)


def _part(value: Tensor | None, dtype: torch.dtype, weight: DTensor, device: torch.device) -> DTensor:
    """Return the leader's `value`, sharded as a weight is."""
    if value is None:
        full = torch.empty(weight.shape, dtype=dtype, device=device)
    else:
        full = value.to(device).contiguous()
    dist.broadcast(full, 0)
    part = distribute_tensor(full, weight.device_mesh, weight.placements, src_data_rank=None)
    own = local(part).to(local(weight).device, copy=True)
    return DTensor.from_local(
        own,
        weight.device_mesh,
        weight.placements,
        run_check=False,
        shape=weight.shape,
        stride=weight.stride(),
    )


def sharded_like(value: Any, like: object) -> Any:
    """Return a whole tensor that all processes have, sharded as `like` is; anything else as it is."""
    if not isinstance(like, DTensor) or isinstance(value, DTensor):
        return value
    full = value.to(like.device_mesh.device_type)
    return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None)


def shard_whole(saved: Any, like: Any) -> Any:
    """Return a state in which whole tensors are sharded, where `like` has a sharded one of their shape."""
    if isinstance(saved, dict) and isinstance(like, dict):
        return {key: shard_whole(value, _item(like, key)) for key, value in saved.items()}
    return sharded_like(saved, like) if isinstance(like, DTensor) and _is_like(saved, like) else saved


def _item(state: dict[Any, Any], key: Any) -> Any:
    try:
        return state[key]
    except KeyError:
        return None


def _broadcast(tensor: Tensor) -> None:
    """Give all processes the leader's values."""
    values = tensor.contiguous()
    dist.broadcast(values, 0)
    if values is not tensor:
        tensor.copy_(values)


def _broadcast_together(tensors: list[Tensor]) -> None:
    """Give all processes the leader's values of tensors of one format, in one message."""
    values = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    dist.broadcast(values.view(torch.uint8), 0)  # gloo does not know every format
    if dist.get_rank() != 0:
        parts = torch.split(values, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view(tensor.shape))


def _try(setup: TrainingSetup, sharding: Sharding) -> None:
    """Make a step, and undo it: torch tells only then what it cannot shard.

    The passes also make FSDP's buffers for whole weights. An evaluation must not: it runs in inference mode,
    and torch trains with no tensor that was made there.
    """
    batch = first_batch(setup)
    sharding.synchronize(is_last=True)
    if setup.ema:
        with preserve([setup.ema.module]), torch.no_grad(), setup.precision.autocast:
            setup.ema.module(batch[0].detach().clone())
    with preserve([setup.model, setup.loss_fn], setup.optimizer):
        forward_and_backward(setup, batch)
        try:
            setup.optimizer.step()
        except FAILURES as error:
            if is_lost_process(error) or isinstance(error, torch.OutOfMemoryError):
                raise
            name = setup.preset.optimizer.name
            raise ComponentError(
                f"optimizer.name: {name} has no step for sharded weights ({error_summary(error)}); use AdamW "
                "or another one"
            ) from error
        take_shards({"optimizer": setup.optimizer.state_dict()})  # whether it can be saved
