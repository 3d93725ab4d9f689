"""Another user was there first: in /tmp, in the registry of runs, or with hard links in a shared run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.users.test_two_users import SQUAT
from tests.support.local_user import LocalUser
from tests.support.program_user import wait_until

MakeUsers = Callable[[str], tuple[LocalUser, LocalUser]]

CAROL = 54303
"""Has had no runs, and so no folder in /tmp."""

IN_TMP = Path(f"/tmp/torchconsole-{CAROL}")

LISTEN = """
from torchconsole.engine.run.sockets import listen, remove_socket
listening = listen(Path(sys.argv[1]))
address = listening.address
assert address.parent.stat().st_uid == os.getuid() and not address.parent.stat().st_mode & 0o077
assert address.stat().st_mode & 0o777 == 0o600
print(json.dumps([str(address), listening.problem]))
remove_socket(address)
"""


REMOVE = """
path = Path(sys.argv[1])
path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
"""


@pytest.fixture
def tmp_place() -> Iterator[Path]:
    """The folder in /tmp where Carol's sockets should be."""
    yield IN_TMP
    if IN_TMP.is_dir() and not IN_TMP.is_symlink():
        shutil.rmtree(IN_TMP)
    else:
        IN_TMP.unlink(missing_ok=True)


def test_a_place_in_tmp_that_somebody_took_is_not_used(
    make_users: MakeUsers, place: Path, filled_cache: Path, tmp_place: Path
) -> None:
    _, bob = make_users("sticky")
    carol = LocalUser(CAROL, place / "carol", "", filled_cache, bob.runs_dir)
    del carol.env["TORCHCONSOLE_SOCKETS"]
    for code in SQUAT.values():
        bob.python(f"path = Path(sys.argv[1]); {code}", tmp_place, bob.home)
        address, problem = json.loads(carol.python(LISTEN, carol.runs_dir / "run"))
        assert not address.startswith(f"{tmp_place}/")
        assert str(tmp_place) in problem
        bob.python(REMOVE, tmp_place)


HARD_LINKS = """
run, private = Path(sys.argv[1]), Path(sys.argv[2])
refused = 0
for target in (private, run / "worker.lock"):
    for name in ("metrics.jsonl", "worker.log", "run.json", "linked.lock"):
        (run / name).unlink(missing_ok=True)
        try:
            os.link(target, run / name)
        except PermissionError:
            refused += 1
print(refused)
"""


@pytest.mark.skipif(
    Path("/proc/sys/fs/protected_hardlinks").read_text().strip() != "1", reason="hard links are not protected"
)
def test_a_private_file_cannot_be_linked_into_a_shared_run(make_users: MakeUsers) -> None:
    """The kernel refuses it, also for a lock, which is private: so a run's lock identifies it."""
    alice, bob = make_users("group")
    alice.python(
        "os.umask(0o077); Path(sys.argv[1]).write_text('mine')", private := alice.runs_dir / "secret"
    )
    run = alice.start()
    assert bob.python(HARD_LINKS, alice.runs_dir / run, private).strip() == "8"
    wait_until(lambda: (alice.runs_dir / run / "run.json").exists(), "run.json again")
    assert "applied" in alice.send(run, "stop")
    assert private.read_text() == "mine"


FORGE_REGISTRY = """
import hashlib
registry, run, thesis, forged = map(Path, sys.argv[1:])
forged.mkdir()
(forged / "run.json").write_text((run / "run.json").read_text())
(forged / "worker.lock").write_text("")
entry = lambda folder, **more: json.dumps({"folder": str(folder), **more})
named = registry / (hashlib.sha256(os.fsencode(run)).hexdigest()[:16] + ".json")
named.write_text(entry(forged))
(registry / "1.json").write_text(entry(thesis))
(registry / "2.json").write_text(entry(run, missing="forged", pid=1, start=int(
    Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19])))
(registry / "3.json").write_text("[" * 100_000)
(registry / "4.json").write_text(entry("/x", inode=["1"], pid=1e99))
(registry / "5.json").symlink_to("/dev/zero")
(registry / "6.json").symlink_to(thesis / "text")
(registry / "7.json").write_text(entry("/\\x1b[31m/\\udcff"))
os.mkfifo(registry / "8.json")
(registry / "9.json").write_text(entry(run / ".." / run.name))
"""


def test_a_registry_that_somebody_else_has_made_changes_no_run(make_users: MakeUsers, place: Path) -> None:
    """Alice's state folder is one that Bob made, so that its registry has what he likes."""
    alice, bob = make_users("sticky")
    state = place / "state"
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    alice.env["XDG_STATE_HOME"] = str(state)
    registry = state / "torchconsole" / "runs"
    bob.python("path = Path(sys.argv[1]); path.mkdir(parents=True); path.chmod(0o777)", registry)
    run = alice.start()
    alice.python(
        "path = Path(sys.argv[1]); path.mkdir(); (path / 'run.json').write_text('{}'); "
        "(path / 'text').write_text('years of work'); path.parent.chmod(0o755)",
        thesis := alice.home / "thesis",
    )
    forged = bob.runs_dir / "forged"
    bob.python(FORGE_REGISTRY, registry, alice.runs_dir / run, thesis, forged)
    listed = alice.run("runs")
    assert (listed.returncode, "\x1b" in listed.stdout) == (0, False), listed.stderr
    assert "years" not in listed.stdout + listed.stderr
    assert "applied" in alice.send(run, "pause")
    for target in ("thesis", str(thesis), "forged"):
        assert alice.run("delete", "--yes", "--all", target).returncode != 0
    assert (thesis / "text").read_text() == "years of work"
    assert forged.is_dir()
    assert "applied" in alice.send(run, "stop")
