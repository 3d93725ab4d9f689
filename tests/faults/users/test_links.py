"""Links, FIFOs and forged folders in a shared folder: never followed for writing, never disclosed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.users.test_two_users import train_to_the_end, trains
from tests.support.local_user import LocalUser, content_of
from tests.support.program_user import wait_until

MakeUsers = Callable[[str], tuple[LocalUser, LocalUser]]

SECRET = "token-that-only-alice-may-read"

MAKE_SECRETS = """
os.umask(0o077)
for name in ("notes.txt", "steps/step-00000001/state.pt", "steps/step-00000002/state.pt"):
    path = Path.home() / "private" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(sys.argv[1])
"""

REPLACE = """
run, secrets, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
pid = json.loads((run / "run.json").read_bytes())["pid"]
names = ["metrics.jsonl", "journal.jsonl", "history.json", "confusion.json", "worker.log", ".run.json.spare",
         "preset.toml", "preset.wanted.toml", f".run.json.{pid}.tmp", f".preset.toml.{pid}.tmp"]
for name in names:
    (run / name).unlink(missing_ok=True)
    if how == "link":
        (run / name).symlink_to(secrets / "notes.txt")
    else:
        os.mkfifo(run / name)
if how == "link":
    (run / "checkpoints").rename(run / "old")
    (run / "checkpoints").symlink_to(secrets / "steps")
"""


@pytest.mark.parametrize("how", ["link", "FIFO"])
def test_what_the_group_puts_into_a_live_run_is_not_followed(how: str, make_users: MakeUsers) -> None:
    """Alice lets her group write: Bob can spoil the run, but reaches nothing outside of it."""
    alice, bob = make_users("group")
    alice.python(MAKE_SECRETS, SECRET)
    run = alice.start("--set", "checkpoint.keep=1", "--set", "checkpoint.save_every_steps=20")
    trains(alice, run)
    before = content_of(alice.home / "private")
    bob.python(REPLACE, alice.runs_dir / run, alice.home / "private", how)
    alice.run("send", run, "save")
    assert alice.record(run)["status"] == "running"
    done = alice.run("send", run, "stop")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: alice.record(run)["status"] not in ("running", "stopping"), "the end")
    alice.run("resume", run, "--headless", "--set", "training.max_steps=100")
    assert content_of(alice.home / "private") == before


SWAP = """
import shutil
os.umask(0)
run, secrets = Path(sys.argv[1]), Path(sys.argv[2])
aside = run.rename(run.with_name("aside"))
run.mkdir()
for file in aside.iterdir():
    if file.name != "worker.lock" and file.is_file():
        shutil.copyfile(file, run / file.name)
(run / "checkpoints").symlink_to(secrets / "steps")
"""


def test_a_forged_folder_in_the_place_of_a_live_run_is_not_used(make_users: MakeUsers) -> None:
    """In a folder without the sticky bit, Bob can rename Alice's run and put his own folder there."""
    alice, bob = make_users("open")
    alice.python(MAKE_SECRETS, SECRET)
    run = alice.start("--set", "checkpoint.keep=1", "--set", "checkpoint.save_every_steps=20")
    trains(alice, run)
    before = content_of(alice.home / "private")
    bob.python(SWAP, alice.runs_dir / run, alice.home / "private")
    forged = content_of(alice.runs_dir / run)
    trains(alice, "aside")
    assert "applied" in alice.send("aside", "save")
    assert content_of(alice.home / "private") == before
    assert content_of(alice.runs_dir / run) == forged


LURE = """
run, secrets = Path(sys.argv[1]), Path(sys.argv[2])
for name in ("metrics.jsonl", "journal.jsonl", "history.json"):
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(secrets / "notes.txt")
checkpoint = run / "checkpoints" / "step-00000023"
(checkpoint / "notes").symlink_to(secrets / "notes.txt")
(checkpoint / "all").symlink_to(secrets)
"""

FIND = """
for folder, _, files in os.walk(sys.argv[1]):
    for path in (Path(folder) / file for file in files):
        try:
            found = sys.argv[2].encode() in path.read_bytes()
        except OSError:
            continue
        if found:
            print(path)
"""


def test_links_in_another_users_run_disclose_nothing(make_users: MakeUsers) -> None:
    """Bob's run leads to Alice's private files; she continues it in the shared folder."""
    alice, bob = make_users("sticky")
    alice.python(MAKE_SECRETS, SECRET)
    run = train_to_the_end(bob)
    bob.python(LURE, bob.runs_dir / run, alice.home / "private")
    before = content_of(alice.home / "private")
    done = alice.run("resume", f"{run}@23", "--headless", "--set", "training.epochs=3")
    assert done.returncode == 0, done.stderr
    for command in (["runs"], ["events", run], ["checkpoints", run]):
        alice.run(*command)
    assert bob.python(FIND, bob.runs_dir, SECRET) == ""
    assert content_of(alice.home / "private") == before
