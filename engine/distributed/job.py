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
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from pydantic import BaseModel
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from torchconsole.engine.components.data.data_record import DataRecord
from torchconsole.engine.components.ranks import Ranks
from torchconsole.engine.components.torch_compat import Replica
from torchconsole.engine.distributed.agreement import FollowerQueue, LeaderQueue
from torchconsole.engine.distributed.diagnosis import longest
from torchconsole.engine.distributed.failures import Failures, own_name
from torchconsole.engine.distributed.meeting import LEADER_SECONDS, meet
from torchconsole.engine.distributed.store import FOREVER, copy_of, wait_for
from torchconsole.engine.distributed.watch import Watch, Watched
from torchconsole.engine.errors import DeviceError, TrainingError
from torchconsole.engine.run.membership import NOT_HEARD_OF, Membership
from torchconsole.engine.text import first_line
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.progress import Progress

if TYPE_CHECKING:
    from torchconsole.engine.distributed.sharding import Sharding

T = TypeVar("T")

STORE_SECONDS = 300.0
"""How long to try to reach the store: the first process may start later than others."""

PLAN, READY, STOP, MINUTES, OVER = "plan", "ready", "stop", "minutes", "over"

LEAVE_SECONDS = 5.0
"""How long the leader waits at its end until each of the others knows."""

LEADER_IS_MISSING = (
    f"process 0 has {NOT_HEARD_OF} {LEADER_SECONDS:.0f} s: it hangs at its start, or was not started"
)

LATER = timedelta(seconds=30)
"""How much longer than our own watch torch waits for a process: the watch knows which one is missing."""

_formed: list[Job] = []
"""Kept until the process exits. The last reference to a group of gloo may be that of a replica. Dropped soon
after a backward pass, it hangs: it holds the GIL while it waits for a thread that needs it (torch 2.13)."""


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

    Where torch fails because of another process, `failures` says which one it was.
    """

    def __init__(self, membership: Membership) -> None:
        """Reach the store, and the leader there. Raises TrainingError if either does not come in time."""
        self.rank, self.size = membership.rank, membership.size
        self.local_size = membership.local_size
        self._membership = membership
        if "OMP_NUM_THREADS" not in os.environ:  # torchrun sets it
            torch.set_num_threads(max(1, torch.get_num_threads() // self.local_size))
        self._is_formed = False
        self._is_complete = threading.Event()
        self._finds_unused = False
        self._channel: LeaderQueue | FollowerQueue | None = None
        self._watch: Watch | None = None
        self._replica: Replica | None = None
        self.sharding: Sharding | None = None
        self.saves: dist.ProcessGroup | None = None
        """What the processes that save together write checkpoints with, beside the training."""
        self._trained: list[nn.Parameter] = []
        try:
            shared = PrefixStore(
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
            self._store, _ = meet(shared, leads=self.leads, complete=self._is_complete)
            self.failures = Failures(self._store, self.rank, self.size)
        except TimeoutError as error:
            raise TrainingError(LEADER_IS_MISSING) from error
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
        self._is_complete.set()

    def receive(self) -> Plan:
        """Wait for the leader's plan. Raises JobError if the leader ends before it has one."""
        plan = Plan.model_validate_json(wait_for(self._store, PLAN, look=self.failures.raise_end))
        self._finds_unused = plan.finds_unused
        return plan

    def report_ready(self) -> None:
        """Tell the leader that this process is prepared."""
        self._store.set(f"{READY}/{self.rank}", "")

    def report_failure(self, reason: str) -> None:
        """Tell the leader, which waits for this process to be prepared, why it ends."""
        with contextlib.suppress(dist.DistError, RuntimeError):  # nobody is there to be told any more
            self._store.set(f"{READY}/{self.rank}", f"{own_name(self.rank)}: {reason}")

    def form(self, device: torch.device, minutes: float, *, saves_together: bool = False) -> None:
        """Join the process group, with nccl for tensors on GPUs and gloo for all others.

        The watch finds out what hangs for so many `minutes`. Torch does not know what may last longer.
        """
        timeout = timedelta(seconds=longest(60 * minutes)) + LATER
        dist.init_process_group(
            backend="cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore("group", self._store),
            rank=self.rank,
            world_size=self.size,
            timeout=timeout,
        )
        self._is_formed = True
        _formed.append(self)
        if saves_together:
            self.saves = dist.new_group(backend="gloo", timeout=timeout)

    def leader_queue(self, commands: CommandQueue) -> LeaderQueue:
        """Return the channel of the leader's commands to all processes."""
        self._channel = LeaderQueue(commands, PrefixStore("commands", self._store), self.size)
        return self._channel

    def follower_queue(self) -> FollowerQueue:
        """Return the channel from the leader."""
        self._channel = FollowerQueue(PrefixStore("commands", self._store), self.rank)
        return self._channel

    def watch(self, end: Callable[[str], object], minutes: float | None = None) -> None:
        """Watch over the training thread, which calls this, and over the other processes, from now on.

        Call `end` with the reason, in a thread, once nothing has gone on for so many minutes, which the
        leader tells the others.
        """
        limit = float(wait_for(self._store, MINUTES)) if minutes is None else minutes
        self._watch = Watch(self._store, self.rank, self.size, 60 * limit, None, end)
        self.failures.watch = self._watch
        self._watch.start()
        if minutes is not None:
            self._store.set(MINUTES, str(minutes))

    @property
    def trains(self) -> bool:
        """Whether the preparation is over."""
        return self._watch is not None and self._watch.watched is not None

    def watch_training(self, progress: Progress, commands: CommandQueue) -> None:
        """Watch how far the training is: the preparation is over."""
        assert self._watch is not None
        assert self._channel is not None
        self._watch.begin_training(Watched(progress, commands, self._channel))

    def at_disk(self) -> contextlib.AbstractContextManager[None]:
        """See `Ranks`."""
        return super().at_disk() if self._watch is None else self._watch.at_disk()

    def save_store(self) -> Store:
        """Return the channel of the thread that tells the others what to save, or that is told."""
        return copy_of(PrefixStore("saves", self._store))

    def ask_to_stop(self, reason: str) -> None:
        """Have the leader stop all processes."""
        with contextlib.suppress(dist.DistError):  # it has ended
            self._store.set(STOP, reason)

    def watch_for_stop(self, stop: Callable[[str], object]) -> None:
        """Call `stop` with the reason, in a thread, once another process asks for it."""
        store = copy_of(self._store)

        def wait() -> None:
            with contextlib.suppress(dist.DistError):  # the store is gone at the end of the job
                store.wait([STOP], FOREVER)
                self.failures.others_stop = True
                stop(store.get(STOP).decode())

        threading.Thread(target=wait, name="torchconsole-stop", daemon=True).start()

    def start_thread(self, name: str, work: Callable[[Store, threading.Event], object]) -> None:
        """Start a thread with a client of the store, which works until the process ends."""
        arguments = copy_of(self._store), threading.Event()
        threading.Thread(target=work, args=arguments, name=f"torchconsole-{name}", daemon=True).start()

    @property
    def averages_in_backward(self) -> bool:  # type: ignore[override]
        """See `Ranks`."""
        return self._is_formed and not self.is_sharded

    def leave(self) -> None:
        """Leave the process group, when all processes have ended their training.

        The others wait for the leader, which may still wait for the disk: torchrun would give it five minutes
        once they are gone, and srun as long as it says.
        """
        with contextlib.suppress(dist.DistError, TimeoutError):  # the store, or a process, has gone
            if self.leads:
                self._store.set(OVER, "")
                for rank in range(1, self.size):  # they would find the store gone, and say so
                    wait_for(self._store, f"{OVER}/{rank}", LEAVE_SECONDS)
            else:
                wait_for(self._store, OVER)
                self._store.set(f"{OVER}/{self.rank}", "")
        if self._watch is not None:
            self._watch.close()
        dist.destroy_process_group()

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
        self._replica = Replica(model, lambda: self.on_buffers(), finds_unused=self._finds_unused)
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
