"""Programs with `torchconsole.run`: killed and resumed, in their own process and under `torchconsole run`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.program_user import User, wait_until

pytestmark = pytest.mark.timeout(300)

PROGRAM = """
import random
import sys
import time
from pathlib import Path
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
import torchconsole

workers, result = int(sys.argv[1]), sys.argv[2]
torch.manual_seed(0)
random.seed(0)
np.random.seed(0)


class Data(Dataset):
    x = torch.randn(32, 3)
    rng = np.random.default_rng(1)

    def __len__(self):
        return 32

    def __getitem__(self, index):
        noise = random.random() + np.random.rand() + self.rng.random() + torch.rand(())
        return self.x[index] + 0.1 * float(noise), self.x[index].sum()


model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)
loader = DataLoader(Data(), batch_size=4, shuffle=True, num_workers=workers)


def evaluate():
    with torch.no_grad():
        return {"val/loss": sum(float((model(x).squeeze(1) - y).square().mean()) for x, y in loader)}


if __name__ == "__main__":
    with torchconsole.run("mine", patience=50) as run:
        run.keep(model=model, optimizer=optimizer, scheduler=scheduler)
        run.on_evaluate(evaluate)
        print("resumed" if run.resumed else "new", run.step)
        for epoch in run.epochs(3):
            for x, y in run.steps(loader):
                loss = (model(x).squeeze(1) - y).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.log(loss=loss)
                time.sleep(0 if Path("go").exists() else 1)  # there is time for commands
            scheduler.step()
            run.evaluated(evaluate())
    torch.save(model.state_dict(), result)
    print("behind the with")
"""


def python(user: User, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start `python train.py` of this user."""
    (user.folder / "train.py").write_text(PROGRAM)
    env = {**user.env, "TORCHCONSOLE_RUNS": str(user.runs_dir), **environment}
    command = [sys.executable, "train.py", *arguments]
    return subprocess.Popen(
        command, cwd=user.folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def same_weights(one: Path, other: Path) -> bool:
    first, second = torch.load(one), torch.load(other)
    return all(torch.equal(first[name], second[name]) for name in first)


def the_run(user: User) -> str:
    return str(wait_until(user.runs, "the run")[0])


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("detached", [False, True])
def test_a_killed_program_resumes_to_the_same_weights(user: User, workers: str, detached: bool) -> None:
    (user.folder / "go").touch()
    with python(user, workers, "reference.pt", TORCHCONSOLE="off") as reference:
        assert reference.wait() == 0
    assert not user.runs_dir.exists()
    (user.folder / "go").unlink()
    if detached:
        run = user.run("run", "--detach", "train.py", workers, "result.pt").stdout.strip()
    else:
        process = python(user, workers, "result.pt")
        run = the_run(user)
    wait_until(lambda: user.last_step(run) >= 4, "some steps")
    user.send(run, "eval")
    user.send(run, "save")
    os.kill(user.worker(run), signal.SIGKILL)
    if not detached:
        process.communicate()
    wait_until(lambda: user.record(run)["status"] == "lost", "the end of the program")
    (user.folder / "train.py").write_text(PROGRAM + "# changed\n")
    (user.folder / "go").touch()
    done = user.run("resume", run, "--headless", timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train.py has changed since the run began" in done.stderr
    assert user.runs() == [run]
    log = (user.runs_dir / run / "worker.log").read_text()
    assert "resumed" in log
    assert "behind the with" in log
    assert (user.record(run)["status"], user.record(run)["step"]) == ("finished", 24)
    assert same_weights(user.folder / "reference.pt", user.folder / "result.pt")


def test_a_program_is_attachable_and_ctrl_c_saves_it(user: User) -> None:
    process = python(user, "0", "result.pt")
    run = the_run(user)
    assert run.startswith("mine-")
    wait_until(lambda: user.last_step(run) >= 2, "some steps")
    assert "lr 0.01 -> 0.005" in user.send(run, "lr", "x0.5")
    assert "val/loss" in user.send(run, "eval")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "behind the with" not in out
    assert "Traceback" not in err
    assert f"to watch this run: torchconsole attach {run}" in err
    assert f"torchconsole resume {run}" in err
    record = user.record(run)
    assert (record["status"], record["reason"]) == ("stopped", "SIGINT")
    checkpoint = json.loads((user.runs_dir / run / "checkpoints" / "last" / "manifest.json").read_text())
    assert checkpoint["step"] == record["step"]
    older = user.run("resume", f"{run}@{checkpoint['step']}", "--set", "training.epochs=5")
    assert older.returncode == 2
    assert "which has no keys; edit its file" in older.stderr


def test_a_stop_goes_on_behind_the_with(user: User) -> None:
    process = python(user, "0", "result.pt")
    run = the_run(user)
    wait_until(lambda: user.last_step(run) >= 2, "some steps")
    user.send(run, "stop")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "behind the with" in out
    assert user.record(run)["status"] == "stopped"


def test_an_older_checkpoint_starts_a_new_run(user: User) -> None:
    process = python(user, "0", "result.pt")
    run = the_run(user)
    wait_until(lambda: user.last_step(run) >= 2, "some steps")
    saved = user.send(run, "save").split("step-")[1][:8]
    (user.folder / "go").touch()
    assert process.wait(60) == 0
    process.communicate()
    done = user.run("resume", f"{run}@{int(saved)}", "--headless", timeout=200)
    assert done.returncode == 0, done.stderr
    [branch] = [name for name in user.runs() if name != run]
    record = user.record(branch)
    assert (record["status"], record["step"], record["parent"]["step"]) == ("finished", 24, int(saved))
