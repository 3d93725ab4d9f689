"""The processes of a job: they meet in a store, prepare one after the other, and then compute together.

The leader (rank 0) prepares first, like a process that trains alone, and decides what the preset leaves open.
Then it publishes the plan, the others prepare by it, and all join a process group. Until then each of them is
alone: a dry run must not wait for anybody.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from pydantic import BaseModel
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore
from torch.nn.parallel import DistributedDataParallel

from torchconsole.engine.components.data.data_record import DataRecord
from torchconsole.engine.components.ranks import Ranks
from torchconsole.engine.distributed.agreement import FOREVER, FollowerQueue, LeaderQueue, copy_of, wait_for
from torchconsole.engine.errors import DeviceError, TrainingError
from torchconsole.engine.run.membership import Membership
from torchconsole.engine.text import first_line
from torchconsole.engine.training.command_queue import CommandQueue

if TYPE_CHECKING:
    from torchconsole.engine.distributed.sharding import Sharding

T = TypeVar("T")

STORE_SECONDS = 300.0
"""How long to try to reach the store: the first process may start later than others."""

PLAN, READY, FAILED, STOP = "plan", "ready", "failed", "stop"


class Plan(BaseModel):
    """What the leader tells the other processes before they prepare."""

    preset: str
    """The resolved preset, as TOML."""
    record: DataRecord | None
    """What the run has recorded about its data; None in a new run."""
    finds_unused: bool
    """Whether some parameters get no gradient, so that each step must find out which."""
    run: str
    """The run's folder."""


class Job(Ranks):
    """This process's access to all processes of a job.

    Where torch fails because of another process, `naming_lost_process` says so.
    """

    def __init__(self, membership: Membership) -> None:
        """Reach the store. Raises TrainingError if there is none within `STORE_SECONDS`."""
        self.rank, self.size = membership.rank, membership.size
        self.local_size = membership.local_size
        self._membership = membership
        if "OMP_NUM_THREADS" not in os.environ:  # torchrun sets it
            torch.set_num_threads(max(1, torch.get_num_threads() // self.local_size))
        self._is_formed = False
        self._finds_unused = False
        self._replica: DistributedDataParallel | None = None
        self.sharding: Sharding | None = None
        self.saves: dist.ProcessGroup | None = None
        """What the processes that save together write checkpoints with, beside the training."""
        self._trained: list[nn.Parameter] = []
        try:
            self._store: Store = PrefixStore(
                f"torchconsole/{membership.attempt}",
                TCPStore(
                    membership.host,
                    membership.port,
                    self.size,
                    is_master=self.leads and not membership.launcher_hosts,
                    timeout=timedelta(seconds=STORE_SECONDS),
                    wait_for_workers=False,
                ),
            )
        except (dist.DistError, RuntimeError) as error:
            where = f"{membership.host}:{membership.port}"
            raise TrainingError(
                f"process {self.rank} cannot meet the others at {where} (MASTER_ADDR, MASTER_PORT): "
                f"{first_line(error)}"
            ) from error

    def device_for(self, chosen: torch.device) -> torch.device:
        """Return the device of this process: of several GPUs, its own one. Raises DeviceError."""
        if chosen.type == "cpu":
            return chosen
        if chosen.type != "cuda":
            raise DeviceError(
                f"training.device: several processes cannot train together on {chosen.type}; set it to 'cpu'"
            )
        count, number = torch.cuda.device_count(), self._membership.local_rank
        if number < count:
            return torch.device("cuda", number)
        if count == 1 and self._membership.by_slurm:
            return torch.device("cuda", 0)
        raise DeviceError(
            f"process {self.rank} is number {number + 1} on {socket.gethostname()}, but torch finds only "
            f"{count} GPU(s) there; start fewer processes on it, or set training.device to 'cpu'"
        )

    def publish(self, plan: Plan) -> None:
        """Tell the other processes what to prepare, and wait until they have. Raises TrainingError."""
        self._finds_unused = plan.finds_unused
        self._store.set(PLAN, plan.model_dump_json())
        for rank in range(1, self.size):
            if (failure := self._answer_of(rank)) is not None:
                raise TrainingError(failure)

    def receive(self) -> Plan:
        """Wait for the leader's plan."""
        plan = Plan.model_validate_json(wait_for(self._store, PLAN))
        self._finds_unused = plan.finds_unused
        return plan

    def report_ready(self) -> None:
        """Tell the leader that this process is prepared."""
        self._store.set(f"{READY}/{self.rank}", "")

    def report_failure(self, reason: str) -> None:
        """Tell the leader why this process ends."""
        text = f"process {self.rank} on {socket.gethostname()}: {reason}"
        with contextlib.suppress(dist.DistError, RuntimeError):  # nobody is there to be told any more
            self._store.set(f"{FAILED}/{self.rank}", text)
            self._store.set(f"{READY}/{self.rank}", text)

    def form(self, device: torch.device, minutes: float, *, saves_together: bool = False) -> None:
        """Join the process group, with nccl for tensors on GPUs and gloo for all others."""
        dist.init_process_group(
            backend="cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore("group", self._store),
            rank=self.rank,
            world_size=self.size,
            timeout=timedelta(minutes=minutes),
        )
        self._device = device
        self._is_formed = True
        if saves_together:
            self.saves = dist.new_group(backend="gloo", timeout=timedelta(minutes=minutes))

    def leader_queue(self, commands: CommandQueue) -> LeaderQueue:
        """Return the channel of the leader's commands to all processes."""
        return LeaderQueue(commands, PrefixStore("commands", self._store), self.size)

    def follower_queue(self) -> FollowerQueue:
        """Return the channel from the leader."""
        return FollowerQueue(PrefixStore("commands", self._store), self.rank)

    def save_store(self) -> Store:
        """Return the channel of the thread that tells the others what to save, or that is told."""
        return copy_of(PrefixStore("saves", self._store))

    def ask_to_stop(self, reason: str) -> None:
        """Have the leader stop all processes."""
        self._store.set(STOP, reason)

    def watch_for_stop(self, stop: Callable[[str], object]) -> None:
        """Call `stop` with the reason, in a thread, once another process asks for it."""
        store = copy_of(self._store)

        def wait() -> None:
            with contextlib.suppress(dist.DistError):  # the store is gone at the end of the job
                store.wait([STOP], FOREVER)
                stop(store.get(STOP).decode())

        threading.Thread(target=wait, name="torchconsole-stop", daemon=True).start()

    def leave(self) -> None:
        """Leave the process group, when all processes have ended their training."""
        dist.destroy_process_group()

    @contextlib.contextmanager
    def naming_lost_process(self) -> Iterator[None]:
        """Raise TrainingError, with the reason if there is one, where torch finds another process missing."""
        try:
            yield
        except (dist.DistError, RuntimeError) as error:
            if not is_lost_process(error):
                raise
            raise TrainingError(
                self._failure() or f"another process has ended: {first_line(error)}"
            ) from error

    def total(self, value: Tensor) -> Tensor:
        """See `Ranks`."""
        if not self._is_formed:
            return value
        value = value.clone()
        dist.all_reduce(value)
        return value

    def totals(self, *values: Tensor | float) -> Sequence[Tensor | float]:
        """See `Ranks`."""
        return self._sum([float(value) for value in values]).tolist() if self._is_formed else values

    def mean_losses(
        self, losses: list[float], counts: Sequence[int]
    ) -> tuple[Sequence[float], Sequence[int]]:
        """See `Ranks`."""
        if not self._is_formed:
            return losses, counts
        sums = [loss * count if count else 0.0 for loss, count in zip(losses, counts, strict=True)]
        total, samples = self._sum([sums, list(counts)])
        return (total / samples).tolist(), samples.long().tolist()

    def _sum(self, numbers: Any) -> Tensor:
        tensor = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor

    def gather(self, item: T) -> list[T]:
        """See `Ranks`."""
        if not self._is_formed:
            return [item]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, item)
        return found

    def of_leader(self, item: T) -> T:
        """See `Ranks`."""
        if not self._is_formed:
            return item
        found = [item if self.leads else None]
        dist.broadcast_object_list(found, 0)
        return found[0]  # type: ignore[return-value]

    def share_state(self, state: dict[str, Any] | None) -> dict[str, Any]:
        """Return the leader's state, plain tensors and numbers; other processes pass None."""
        buffer = io.BytesIO()
        if state is not None:
            torch.save(state, buffer)
        size = self.of_leader(buffer.tell())
        content = torch.empty(size, dtype=torch.uint8)
        if state is not None:
            content = torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8)
        dist.broadcast(content, 0)
        if state is not None:
            return state
        shared: dict[str, Any] = torch.load(
            io.BytesIO(content.numpy().tobytes()), map_location="cpu", weights_only=True
        )
        return shared

    def share_buffers(self, *modules: nn.Module) -> None:
        """See `Ranks`."""
        if not self._is_formed:
            return
        own = [buffer for module in modules for buffer in module.buffers()]
        shared = self.of_leader([buffer.cpu() for buffer in own])
        if not self.leads:
            with torch.no_grad():
                for buffer, value in zip(own, shared, strict=True):
                    buffer.copy_(value)

    def replicate(self, model: nn.Module) -> nn.Module:
        """See `Ranks`. A replica is for the parameters that are trained now."""
        if self.is_sharded or not self._is_formed:
            return model
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if self._replica is not None:
            if list(map(id, trained)) == list(map(id, self._trained)):
                return self._replica
            # The hooks of a replica that is only dropped stay on its parameters as long as a graph does.
            self._replica._remove_autograd_hooks()  # type: ignore[no-untyped-call]
        self._trained = trained
        self._replica = DistributedDataParallel(model, find_unused_parameters=self._finds_unused)
        return self._replica

    def synchronize(self, is_last: bool) -> None:
        """See `Ranks`. What `no_sync` does, which is a context manager."""
        if self._replica is not None:
            self._replica.require_backward_grad_sync = is_last
        elif self.sharding is not None:
            self.sharding.synchronize(is_last)

    @property
    def is_sharded(self) -> bool:
        """See `Ranks`."""
        return self.sharding is not None

    def _answer_of(self, rank: int) -> str | None:
        """Wait until a process is prepared; return why it has ended instead, if it has."""
        return wait_for(self._store, f"{READY}/{rank}").decode() or None

    def _failure(self) -> str:
        """Return what a process has reported about its end; empty if none has."""
        with contextlib.suppress(dist.DistError, RuntimeError):
            for rank in range(self.size):
                if self._store.check([key := f"{FAILED}/{rank}"]):
                    return str(self._store.get(key), "utf-8")
        return ""


LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Timed out waiting",
    "Socket Timeout",
    "Connection refused",
)
"""Parts of what gloo, nccl and the store say if a process is gone or does not answer."""


def is_lost_process(error: BaseException) -> bool:
    """Whether torch has raised an error because another process is gone or does not answer."""
    return isinstance(error, dist.DistError) or any(part in str(error) for part in LOST)
