"""A process of a job that does not lead: it trains with the others, and writes and reports nothing.

`python -P -m torchconsole.engine.worker.follower [--trust]`, with the variables of a launcher. The preset
comes from the leader. Exit status: 0 if all ended as they should, 1 if the training failed, 2 if the data or
something else that the user can fix is wrong here.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import sys
import time
import tomllib
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from torchconsole.engine.config.loading import validate
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.user_code import trust, untrusted_files
from torchconsole.engine.errors import RunError, TorchconsoleError, TrainingError
from torchconsole.engine.run.membership import Membership, read_membership
from torchconsole.engine.run.names import RUN_FILE
from torchconsole.engine.session.ending import end_at_once
from torchconsole.engine.session.event_queue import Nowhere, report_error
from torchconsole.engine.system_limits import raise_file_limit
from torchconsole.engine.text import error_summary, printable
from torchconsole.engine.training.command_queue import INSIST_SECONDS, CommandQueue
from torchconsole.engine.user_folders import name_user

if TYPE_CHECKING:
    from torchconsole.engine.distributed.job import Job
    from torchconsole.engine.training.checkpoint_manager import CheckpointManager
    from torchconsole.engine.training.train_state import TrainState


def main(arguments: list[str]) -> int:
    """Train as one of several processes; return the exit status."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a terminal sends it to all processes, and one tells it
    name_user()
    raise_file_limit()
    membership = read_membership(os.environ)
    if membership is None:
        report_error("no launcher started this process; use torchconsole train")
        return 2
    logging.basicConfig(
        level=logging.WARNING, format=f"process {membership.rank}: %(levelname)s: %(message)s"
    )
    try:
        _follow(membership, trusts="--trust" in arguments)
    except TrainingError as error:
        report_error(f"process {membership.rank}: {error}")
        return 1
    except TorchconsoleError as error:
        report_error(f"process {membership.rank}: {error}")
        return 2
    return 0


def _follow(membership: Membership, *, trusts: bool) -> None:
    from torchconsole.engine.distributed.job import Job
    from torchconsole.engine.training.failures import within_memory

    job = Job(membership)
    _forward_signals(job)
    try:
        with job.failures.shared():
            job.watch(partial(_end, job.rank))
            within_memory(lambda: _train(job, membership, trusts=trusts))
    except Exception as error:
        job.report_failure(str(error) if isinstance(error, TorchconsoleError) else error_summary(error))
        raise


def _train(job: Job, membership: Membership, *, trusts: bool) -> None:
    from torchconsole.engine.components.devices import choose_device
    from torchconsole.engine.session.rank_reports import LoadMeter, SampledSteps, share_loads
    from torchconsole.engine.training.parts import build_parts
    from torchconsole.engine.training.setup import build_setup
    from torchconsole.engine.training.train_state import TrainState
    from torchconsole.engine.training.trainer import Trainer
    from torchconsole.engine.worker.leading import start_together

    plan = job.receive()
    name = Path(plan.run).name
    _tell(membership, f"run {name}: {_joined(membership)}")
    preset = validate(tomllib.loads(plan.preset), "the leader's preset")
    _require_folder(preset, plan.run)
    if trusts:
        _trust(preset)
    device = job.device_for(choose_device(preset.training.device))
    nowhere = Nowhere()
    parts = build_parts(preset, device, nowhere.emit, from_checkpoint=True, record=plan.record, ranks=job)
    setup = build_setup(parts, nowhere.emit)
    job.report_ready()
    state = TrainState(setup)
    start_together(job, setup, state)
    checkpoints = _checkpoints(preset, state, job)
    commands = CommandQueue()
    trainer = Trainer(setup, state, checkpoints, commands, nowhere, job.follower_queue())
    job.watch_training(state.progress, commands)
    steps = SampledSteps(trainer.phases, setup.effective_batch)
    share_loads(job, LoadMeter(job.rank, device, steps), nowhere.emit)
    outcome = trainer.run()
    job.leave()
    _tell(membership, f"run {name} {outcome.status} after step {state.progress.step:,}; {outcome.reason}")


def _joined(membership: Membership) -> str:
    """Return which machine has joined, and with which processes."""
    first, count = membership.rank, membership.local_size
    ranks = f"process {first}" if count == 1 else f"processes {first} to {first + count - 1}"
    return f"{socket.gethostname()} trains as {ranks} of {membership.size}; process 0 has the run's folder"


def _tell(membership: Membership, text: str) -> None:
    """Print a line for who has started a machine without process 0, whose terminal shows the progress."""
    if membership.local_rank == 0:
        print(printable(text), file=sys.stderr, flush=True)


def _end(rank: int, reason: str) -> None:
    """End this process from another thread: the training thread hangs."""
    report_error(f"process {rank}: {reason}")
    end_at_once(1)


def _checkpoints(preset: Preset, state: TrainState, job: Job) -> CheckpointManager:
    from torchconsole.engine.distributed.checkpoints import JointCheckpoints, no_writer

    if not job.is_sharded:
        return JointCheckpoints(preset.checkpoint, state, no_writer(), job)
    from torchconsole.engine.distributed.sharded_checkpoints import ShardedCheckpoints

    return ShardedCheckpoints(preset.checkpoint, state, job)


def _require_folder(preset: Preset, run: str) -> None:
    """Raise RunError if this process has to write into the run's folder, and does not see it."""
    if preset.distributed.strategy == "fsdp" and not Path(run, RUN_FILE).exists():
        raise RunError(
            f'{run} is not on this machine, but with distributed.strategy = "fsdp" each process writes a '
            "part of every checkpoint there; put --runs-dir into a folder that all machines share"
        )


def _trust(preset: Preset) -> None:
    for file in untrusted_files(preset.model_dump()):
        trust(file.path, file.content)


def _forward_signals(job: Job) -> None:
    """Have the leader stop all processes when this one is to end. A signal that insists ends it at once.

    With ctrl+c, the terminal sends one to all processes, and torchrun sends it on to them. Before the
    training, there is nothing to wait for: the leader may be gone.
    """
    asked: list[float] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        asked.append(time.monotonic())
        if len(asked) == 1:
            job.ask_to_stop(signal.Signals(number).name)
        if not job.trains or asked[-1] - asked[0] >= INSIST_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    end_at_once(main(sys.argv[1:]))
