"""Why a process of a job ends: what it tells the others, and what they find out if it could not."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Iterator
from typing import Protocol

import torch.distributed as dist
from torch._C._distributed_c10d import Store

from torchconsole.engine.components.user_errors import place_in_user_code
from torchconsole.engine.distributed.backend_messages import in_words
from torchconsole.engine.distributed.diagnosis import Beat
from torchconsole.engine.distributed.watch import BEAT
from torchconsole.engine.errors import JobError, TorchconsoleError
from torchconsole.engine.run.membership import BEFORE_TRAINING, UNTOLD
from torchconsole.engine.run.memory_kills import explain_kill, read_counters
from torchconsole.engine.text import error_summary, first_line
from torchconsole.engine.training.command_queue import Terminated

log = logging.getLogger(__name__)

FAILED, LOST, STOPPED = "failed", "lost", "stopped"

LEADER_STOPPED = f"process 0 was stopped {BEFORE_TRAINING}"

FIRST = "first failure"
"""The key of the failure that was reported first."""

LOSS_SECONDS = 5.0
"""How long to find out which process has ended: the others say that they miss one too."""

LAUNCHER_SECONDS = 3.0
"""How long a launcher may take to end the other processes after one."""

LOOK_SECONDS = 0.05

LOST_TEXTS = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Timed out waiting",
    "Socket Timeout",
    "Connection refused",
    "NCCL communicator was aborted",
    "ncclRemoteError",
    "remote process exited",
)
"""Parts of what gloo, nccl and the store say if a process is gone or does not answer."""


class KnowsBeats(Protocol):
    """A watch over the other processes."""

    beats: dict[int, Beat]
    verdict: str
    """Which process hangs, if one does."""

    @property
    def absence(self) -> str:
        """Why the others are gone if this process itself was suspended or the like; else empty."""


class Failures:
    """The failures of a job's processes, in the store."""

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self.watch: KnowsBeats | None = None
        """What knows how far the others were; None before they have met."""
        self.others_stop = False
        """Whether another process has told the first one that it is to stop."""
        self._store = store
        self._rank = rank
        self._others = [other for other in range(size) if other != rank]
        self._kills = read_counters()

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Tell the other processes why this one fails in this context.

        Raises JobError, which names a process that has ended, where torch finds it missing.
        """
        try:
            yield
        except TorchconsoleError as error:
            self.report(str(error))
            raise
        except Exception as error:
            if is_lost_process(error):
                raise JobError(self.why_lost(error)) from error
            if meaning := in_words(str(error)):
                log.error("%s: %s", meaning, first_line(error))
            place = place_in_user_code(error)
            self.report(f"{error_summary(error)} ({place})" if place else error_summary(error))
            raise
        except Terminated:
            self.report_stop()
            raise

    def report(self, reason: str) -> None:
        """Tell the others why this process fails."""
        with contextlib.suppress(dist.DistError, RuntimeError):  # nobody is there to be told any more
            text = f"{own_name(self._rank)}: {reason}"
            self._store.set(f"{FAILED}/{self._rank}", text)
            self._store.compare_set(FIRST, "", text)

    def report_stop(self) -> None:
        """Tell the others that a stop ends this process, and that they are not to wait for it."""
        with contextlib.suppress(dist.DistError, RuntimeError):  # nobody is there to be told any more
            self._store.set(STOPPED, "")

    def raise_end(self) -> None:
        """Raise JobError if the first process was stopped, or any process has failed. Raises DistError.

        A launcher on this machine knows more, and ends this process meanwhile.
        """
        if reason := self.first(self._store) or (LEADER_STOPPED if self.has_stopped(self._store) else ""):
            time.sleep(LAUNCHER_SECONDS)
            raise JobError(reason)

    def has_stopped(self, store: Store) -> bool:
        """Whether a stop has ended the first process alone. Raises DistError."""
        return store.check([STOPPED])

    def accuse(self, verdict: str) -> None:
        """Tell all which process hangs: it may be one that cannot find out itself. Raises DistError."""
        self._store.compare_set(FIRST, "", verdict)

    def first(self, store: Store) -> str:
        """Return the failure that was reported first, and by whom; empty if none was. Raises DistError.

        `store` is the client of the thread that asks.
        """
        return str(store.get(FIRST), "utf-8") if store.check([FIRST]) else ""

    def why_lost(self, error: BaseException) -> str:
        """Return what the process that has ended has said, or else which one is missing."""
        missing = list(self._others)
        beats = dict(self.watch.beats) if self.watch is not None else {}
        with contextlib.suppress(dist.DistError, RuntimeError):  # the store has gone with it
            self._store.set(f"{LOST}/{self._rank}", "")
            deadline = time.monotonic() + LOSS_SECONDS
            while time.monotonic() < deadline:
                if reason := self._reported():
                    return reason
                missing = [rank for rank in missing if not self._store.check([f"{LOST}/{rank}"])]
                if len(missing) <= 1:
                    break
                time.sleep(LOOK_SECONDS)
            beats |= {rank: beat for rank in missing if (beat := self._last_beat(rank)) is not None}
        if self.watch is not None and (reason := self.watch.verdict or self.watch.absence):
            return reason
        if len(missing) != 1 or missing[0] not in beats:
            meaning = in_words(str(error))
            return f"another process {UNTOLD}: {meaning}{': ' if meaning else ''}{first_line(error)}"
        return self.describe(missing[0], beats[missing[0]])

    def _last_beat(self, rank: int) -> Beat | None:
        if not self._store.check([key := f"{BEAT}/{rank}"]):
            return None
        return Beat.model_validate_json(self._store.get(key))

    def _reported(self) -> str:
        """Return what a process has said of its failure; empty if none has."""
        for rank in self._others:
            if self._store.check([key := f"{FAILED}/{rank}"]):
                return str(self._store.get(key), "utf-8")
        return ""

    def describe(self, rank: int, beat: Beat) -> str:
        """Say that a process has ended without a word, and after which step."""
        when = "before the training began" if beat.doing == "preparing" else f"after step {beat.step:,}"
        text = f"{beat.name(rank)} {UNTOLD} without a message {when}"
        kill = explain_kill(self._kills) if beat.host == socket.gethostname() else None
        return f"{text}: it {kill}" if kill else f"{text}: it was killed, or its machine is off"


def own_name(rank: int) -> str:
    """Return what people call this process."""
    return f"process {rank} on {socket.gethostname()}"


def is_lost_process(error: BaseException) -> bool:
    """Whether torch has raised an error because another process is gone or does not answer.

    NCCL's other errors, such as one of CUDA, are those of this process.
    """
    if isinstance(error, dist.DistError) and not isinstance(error, dist.DistBackendError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in LOST_TEXTS)
