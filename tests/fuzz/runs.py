"""The files of runs and the registry, as the commands and the console read them, with mutated ones."""

from __future__ import annotations

import asyncio
import io
import json
from abc import abstractmethod
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from tests.fuzz.target import Target
from tests.support.drawn_runs import draw_runs
from tests.support.foreign_runs import FILES, JSON_FILES, check_message, run_with_every_file, use
from tests.support.hostile import HOSTILE, replace_by
from tests.support.mutations import mutated_bytes, mutated_json
from tests.support.pilot import until
from tests.support.runs import make_folder
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.run import registry
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.cli.parser import run_command
from torchconsole.tui.run_listing import ordered
from torchconsole.tui.screens.run import RunScreen


class _Run(Target):
    """A run whose files are changed one at a time."""

    def __init__(self, folder: Path) -> None:
        self.run = run_with_every_file(folder / "runs")
        self.neighbour = make_folder(folder / "runs", "neighbour")
        self.content = {name: path.read_bytes() for name in FILES if (path := self.run.path / name).exists()}
        self.inputs = st.one_of(
            st.sampled_from(sorted(self.content)).flatmap(
                lambda name: st.tuples(st.just(name), mutated_bytes(self.content[name]))
            ),
            st.sampled_from(JSON_FILES).flatmap(
                lambda name: st.tuples(st.just(name), mutated_json(json.loads(self.content[name])))
            ),
            st.tuples(st.sampled_from(FILES), st.sampled_from(sorted(HOSTILE))),
        )

    def use(self, given: tuple[str, bytes | str]) -> bool:
        name, content = given
        path = self.run.path / name
        if isinstance(content, str):
            replace_by(content, path)
        else:
            path.write_bytes(content)
        try:
            return self.show()
        finally:
            _remove(path)
            if name in self.content:
                path.write_bytes(self.content[name])

    @abstractmethod
    def show(self) -> bool:
        """Show the run, whose file is changed now."""


class RunFiles(_Run):
    """A run's files, as `runs`, `attach`, `events` and the console read them."""

    share = 60

    def show(self) -> bool:
        (row,) = [row for row in registry.list_runs(self.run.path.parent) if row.name == self.neighbour.name]
        assert not row.problem
        return use(self.run)


class Commands(_Run):
    """A run's files, through the commands that print."""

    share = 10

    def show(self) -> bool:
        statuses = [
            _command("runs", "--runs-dir", str(self.run.path.parent)),
            _command("runs", "--json", "--runs-dir", str(self.run.path.parent)),
            _command("events", str(self.run.path)),
            _command("checkpoints", str(self.run.path)),
        ]
        assert statuses[:2] == [0, 0]
        return statuses[2] == 0


class Menu(_Run):
    """A run's files, in the menu and on the run screen."""

    share = 2

    def show(self) -> bool:
        return asyncio.run(self._open())

    async def _open(self) -> bool:
        app = ConsoleApp(runs_dir=self.run.path.parent)
        async with app.run_test(size=(100, 30)) as pilot:
            await until(app, pilot, lambda: app.screen.query("RunList"))
            await pilot.pause()
        app = ConsoleApp(run=self.run)
        async with app.run_test(size=(100, 30)) as pilot:
            await until(app, pilot, lambda: isinstance(app.screen, RunScreen))
            await pilot.pause()
            return not app.screen.query("#problem")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for below in path.iterdir():
            below.rmdir()
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _command(*arguments: str) -> int:
    """Run a command in this process; everything that it prints must be printable."""
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output):
        try:
            status = run_command(arguments)
        except TorchconsoleError as error:
            check_message(str(error))
            return 2
    assert all(line.isprintable() for line in output.getvalue().splitlines())
    return status


class RegistryEntries(Target):
    """The entries of the registry, of which each names a run somewhere."""

    share = 60

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state"
        with self._patched():
            for name in ("one", "two"):
                registry.register(make_folder(folder / "runs", name))
        self._entry, _ = sorted(self._state.rglob("*.json"))
        self._content = self._entry.read_bytes()
        self.inputs = st.one_of(
            mutated_bytes(self._content),
            mutated_json(json.loads(self._content)),
            st.sampled_from(sorted(HOSTILE)),
        )

    def use(self, given: bytes | str) -> bool:
        if isinstance(given, str):
            replace_by(given, self._entry)
        else:
            self._entry.write_bytes(given)
        try:
            with self._patched():
                rows = registry.list_runs()
                draw_runs(ordered(rows, "age"))
            intact = [row for row in rows if not row.problem]
            assert intact
            return len(intact) == 2
        finally:
            _remove(self._entry)
            self._entry.write_bytes(self._content)

    def _patched(self) -> Any:
        return mock.patch.dict("os.environ", XDG_STATE_HOME=str(self._state))
