"""What user code prints reaches those who watch the run, as output of the training."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.program_user import PROGRAM, User

pytestmark = pytest.mark.timeout(300)

NET = """
import os
from torch import nn


class Net(nn.Linear):
    def __init__(self):
        super().__init__(64, 10)
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        if self.passes % 200 == 100:
            print("printed by Python")
        if self.passes % 200 == 0:
            os.system("echo printed by a shell")
        return super().forward(x.flatten(1))
"""

PRESET = """
title = "Mine"
[data]
name = "digits"
[model]
name = "net.py:Net"
[training]
device = "cpu"
"""


def test_output_of_all_kinds_is_seen_while_the_run_trains(user: User) -> None:
    (user.folder / "net.py").write_text(NET)
    user.write_preset("mine", PRESET)
    run = user.start("--trust", preset="mine")
    expected = {"printed by Python", "printed by a shell"}
    command = [PROGRAM, "events", run, "--follow", "--json"]
    with subprocess.Popen(
        command, cwd=user.folder, env=user.env, stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        for line in following.stdout:
            event = json.loads(line)
            if event["type"] == "LogWritten" and event["level"] == "output":
                expected.discard(event["message"])
            if not expected:
                break
        following.terminate()
    assert not expected
    user.send(run, "stop")
