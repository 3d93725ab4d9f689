"""`torchconsole run`: programs that know nothing of torchconsole are runs, unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.program_user import User, wait_until
from tests.support.programs import DATA, PROGRAMS

pytestmark = pytest.mark.timeout(300)


def only_run(user: User) -> Path:
    (folder,) = user.runs_dir.iterdir()
    return folder


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_unchanged(user: User, name: str) -> None:
    program = PROGRAMS[name]
    (user.folder / "train.py").write_text(program.source)
    done = user.run("run", "--headless", "train.py")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = only_run(user)
    last = lines_of(folder)[-1]
    assert (last["step"], last["epoch"]) == (program.steps, program.epochs)
    assert program.metrics <= set(last)
    assert all(abs(last[metric]) < 10 for metric in program.metrics)
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["total_epochs"]) == ("finished", program.total_epochs)


ENDLESS = (
    DATA
    + """
import time
optimizer = torch.optim.SGD([{"params": net.parameters(), "lr": 0.1}])
try:
    while True:
        for a, b in loader:
            optimizer.zero_grad()
            criterion(net(a), b).backward()
            optimizer.step()
            assert optimizer.param_groups[0]["lr"] == 0.1
            time.sleep(0.005)
finally:
    print("cleaned up")
"""
)


def test_a_program_is_steered(user: User) -> None:
    (user.folder / "train.py").write_text(ENDLESS)
    run = user.run("run", "--detach", "--name", "mine", "train.py").stdout.strip()
    assert run == "mine"
    assert "lr 0.1 -> 0.05" in user.send(run, "lr", "x0.5")
    assert "paused" in user.send(run, "pause")
    step = user.record(run)["step"]
    assert "lr 0.05 -> 0.02, held" in user.send(run, "hold", "0.02")
    assert "saved step-" in user.send(run, "save")
    assert user.record(run)["step"] == step
    user.send(run, "unpause")
    refused = user.run("send", run, "eval")
    assert refused.returncode != 0
    assert "only the program knows how it evaluates" in refused.stderr
    user.send(run, "stop")
    wait_until(lambda: user.record(run)["status"] == "stopped", "the program to stop")
    folder = user.runs_dir / run
    assert lines_of(folder)[-1]["lr"] == pytest.approx(0.02)
    assert "cleaned up" in (folder / "worker.log").read_text()
    checkpoints = json.loads(user.run("checkpoints", run, "--json").stdout)
    assert len(checkpoints) == 2
    refusals = {
        "resume": "to make it resumable, add these lines",
        "evaluate": "only its program (train.py) can evaluate it",
        "export": "cannot export a program of yours (train.py)",
    }
    for command, reason in refusals.items():
        done = user.run(command, run)
        assert done.returncode == 2
        assert reason in done.stderr


@pytest.mark.parametrize(
    "after",
    ["print('goes on')", "break", "sys.exit(1)", "os._exit(1)"],
    ids=["goes on", "ends", "exit", "_exit"],
)
def test_a_stop_that_the_program_catches_ends_it_nevertheless(user: User, after: str) -> None:
    (user.folder / "train.py").write_text(
        f"{DATA}\nimport os, sys, time\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1)\nwhile True:\n"
        "    try:\n        criterion(net(x), y).backward()\n        optimizer.step()\n"
        f"        time.sleep(0.005)\n    except BaseException:\n        {after}\n"
    )
    run = user.run("run", "--detach", "train.py").stdout.strip()
    user.send(run, "stop")
    wait_until(lambda: user.record(run)["status"] == "stopped", "the program to stop")
    assert user.record(run)["reason"] == "stop requested"


@pytest.mark.parametrize(
    ("source", "status", "reason"),
    [
        ("print('nothing')", "finished", "the program ended without a training step"),
        (
            "import os\nos._exit(3)",
            "failed",
            "ended itself by os._exit, with exit status 3",
        ),
        ("raise SystemExit(4)", "failed", "the program ended with exit status 4"),
        ("def f():\n    raise KeyError('x')\nf()", "failed", "KeyError: 'x' (train.py, line 2)"),
        ("def f(:", "failed", "SyntaxError"),
        ("input('name? ')", "failed", "a run has no keyboard"),
        ("import os\nif os.fork():\n    os.wait()\nprint('both')", "finished", "without a training step"),
        ("import os\nos.chdir('/')\n", "finished", "without a training step"),
    ],
)
def test_how_a_program_ends_is_one_clear_line(user: User, source: str, status: str, reason: str) -> None:
    (user.folder / "train.py").write_text(source)
    done = user.run("run", "--headless", "train.py")
    record = json.loads((only_run(user) / "run.json").read_text())
    assert (record["status"], reason in record["reason"]) == (status, True), record["reason"]
    assert reason in done.stdout + done.stderr
    assert (done.returncode == 0) is (status == "finished")


def test_a_module_gets_its_arguments_environment_and_folder(user: User) -> None:
    package = user.folder / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "train.py").write_text(
        "import os, sys\nprint(sys.argv[1:], os.environ['K'], os.getcwd(), os.get_terminal_size().columns)\n"
    )
    options = ["--headless", "--env", "K=V", "--cwd", str(user.folder)]
    done = user.run("run", *options, "-m", "pkg.train", "--lr", "0.1", "-m", "x")
    assert done.returncode == 0, done.stderr
    log = (only_run(user) / "worker.log").read_text()
    assert f"['--lr', '0.1', '-m', 'x'] V {user.folder} 120" in log


def test_a_name_is_kept_as_typed(user: User) -> None:
    (user.folder / "train.py").write_text(PROGRAMS["tutorial"].source)
    done = user.run("run", "--headless", "--name", "baseline", "train.py")
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("epoch ")][-1:] == ["4/4"]
    assert only_run(user).name == "baseline"
    again = user.run("run", "--headless", "--name", "baseline", "train.py")
    assert again.returncode == 2
    assert "--name baseline: exists already" in again.stderr


def test_nothing_is_lost_when_a_program_calls_os_exit(user: User) -> None:
    source = PROGRAMS["tutorial"].source + "import os\nos._exit(0)\n"
    (user.folder / "train.py").write_text(source)
    done = user.run("run", "--headless", "train.py")
    assert done.returncode == 0, done.stderr
    assert lines_of(only_run(user))[-1]["step"] == PROGRAMS["tutorial"].steps
    assert json.loads((only_run(user) / "run.json").read_text())["step"] == PROGRAMS["tutorial"].steps


def test_a_program_configures_its_own_logging(user: User) -> None:
    (user.folder / "train.py").write_text(
        "import logging, warnings\n"
        "assert logging.basicConfig(filename='mine.log', format='%(message)s') is None\n"
        "logging.info('hidden')\nlogging.warning('to my file')\nwarnings.warn('old name')\n"
        + PROGRAMS["tutorial"].source
    )
    run = user.run("run", "--detach", "train.py").stdout.strip()
    wait_until(lambda: user.record(run)["status"] == "finished", "the program to end")
    assert (user.folder / "mine.log").read_text() == "to my file\n"
    log = (user.runs_dir / run / "worker.log").read_text()
    assert "hidden" not in log
    assert "UserWarning: old name" in log


def test_a_program_has_a_terminal_but_no_keyboard(user: User) -> None:
    (user.folder / "train.py").write_text(
        "import os, sys\nprint(os.popen('stty size').read(), sys.stdin.isatty(), repr(sys.stdin.read()))\n"
        "print(os.popen('cat').read(), 'end')\n"
    )
    done = user.run("run", "--headless", "train.py")
    assert done.returncode == 0, done.stderr
    log = (only_run(user) / "worker.log").read_text()
    assert "40 120\n False ''\n end\n" in log


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a Python file"),
        (["missing.py"], "missing.py: there is no such file"),
        (["--env", "K", "x.py"], "is not of the form KEY=VALUE"),
        (["--cwd", "/missing", "x.py"], "does not exist"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(user: User, arguments: list[str], message: str) -> None:
    done = user.run("run", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert not user.runs_dir.exists()
