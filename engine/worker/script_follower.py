"""A process of several that does not lead: it runs a program of the user's own, and reports nothing.

`python -P -m torchconsole.engine.worker.script_follower SCRIPT [--resume]`, with the variables of a launcher;
SCRIPT is the program as JSON. What the leader's commands change is changed here, too, at the same step.
Exit status: 0 if the program finished or a command stopped it, 1 if it failed, 2 if it cannot be run.
"""

from __future__ import annotations

import faulthandler
import io
import json
import logging
import os
import sys
from pathlib import Path

from torchconsole.engine.config.script import Script
from torchconsole.engine.errors import TorchconsoleError, TrainingError
from torchconsole.engine.run.membership import JOINS, Membership, read_membership
from torchconsole.engine.session.event_queue import report_error
from torchconsole.engine.system_limits import raise_file_limit
from torchconsole.engine.user_folders import name_user


def main(arguments: list[str]) -> int:
    """Run the program as one of several processes; return the exit status."""
    faulthandler.enable()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what the program prints is seen at once
    name_user()
    raise_file_limit()
    os.environ.pop(JOINS, None)
    membership = read_membership(os.environ)
    if membership is None:
        report_error("no launcher started this process; use torchconsole run --nproc")
        return 2
    try:
        _follow(Script(**json.loads(arguments[0])), membership, resumes="--resume" in arguments)
    except TrainingError as error:
        report_error(f"process {membership.rank}: {error}")
        return 1
    except TorchconsoleError as error:
        report_error(f"process {membership.rank}: {error}")
        return 2
    return 0


def _follow(script: Script, membership: Membership, *, resumes: bool) -> None:
    from torchconsole.engine.components.torchvision_compat import prepare_torchvision_on_import
    from torchconsole.engine.config.script_presets import check_agreed_content
    from torchconsole.engine.distributed.program_job import ProgramJob
    from torchconsole.engine.library.following_host import FollowingHost
    from torchconsole.engine.library.instruments import Instruments
    from torchconsole.engine.library.own_host import set_worker
    from torchconsole.engine.library.program import before_immediate_exit, run_program
    from torchconsole.engine.library.watched_run import WatchedRun

    job = ProgramJob(membership)
    _show_warnings(membership.rank)
    host = FollowingHost(job, resumes=resumes)
    run = WatchedRun(host.events, host.commands, Path(), host.begin_training, job)
    instruments = Instruments(run, host.commands)
    instruments.install()
    host.watch(run, instruments.retire)
    set_worker(host)
    before_immediate_exit(lambda status: job.close())
    prepare_torchvision_on_import()
    try:
        check_agreed_content(script)
        run_program(script, lambda: host.run.has_begun)
    except TorchconsoleError as error:
        if not (host.run.ended and isinstance(error.__cause__, SystemExit)):
            raise type(error)(job.explain(str(error), error.__cause__)) from error
    finally:
        host.run.finish("the program has ended")


def _show_warnings(rank: int) -> None:
    """Send the warnings of torchconsole to stderr. The program configures its logging itself."""
    shown = logging.StreamHandler()
    shown.setFormatter(logging.Formatter(f"process {rank}: %(levelname)s: %(message)s"))
    own = logging.getLogger("torchconsole")
    own.setLevel(logging.WARNING)
    own.propagate = False
    own.handlers[:] = [shown]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
