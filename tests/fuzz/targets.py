"""What is fuzzed: the readers of files and messages that others may have written, each with mutated ones.

A target counts an input as accepted or refused. Any exception but the project's own is a fault.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
from abc import ABC, abstractmethod
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image

from tests.support.data_files import all_of, load
from tests.support.foreign_runs import FILES, JSON_FILES, check_message, run_with_every_file, use
from tests.support.hostile import HOSTILE, replace_by
from tests.support.mutations import mutated_bytes, mutated_json
from tests.support.pilot import until
from tests.support.runs import STARTED, Served, make_folder
from tests.support.sessions import ignore_phase, parts_for
from torchconsole.engine.analysis.start_check import check_parts
from torchconsole.engine.client import connect, live_client, wire
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.protocol.commands import PauseRun
from torchconsole.engine.protocol.messages import ClientHello, CommandRequest, Snapshot, WorkerHello, encode
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run import registry
from torchconsole.engine.run.liveness import WorkerLock, lock_id
from torchconsole.engine.run.sockets import listen_at
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.cli.parser import run_command
from torchconsole.tui.run_listing import menu_lines, ordered
from torchconsole.tui.screens.run import RunScreen


class Target(ABC):
    """A reader, with a folder of its own."""

    share: ClassVar[int]
    """How many inputs it gets while the others get theirs; a slow one gets few."""

    inputs: SearchStrategy[Any]

    @abstractmethod
    def use(self, given: Any) -> bool:
        """Read an input; returns whether it was accepted. Raises on a fault."""


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
                menu_lines(ordered(rows, "age"), 1e9)
            intact = [row for row in rows if not row.problem]
            assert intact
            return len(intact) == 2
        finally:
            _remove(self._entry)
            self._entry.write_bytes(self._content)

    def _patched(self) -> Any:
        return mock.patch.dict("os.environ", XDG_STATE_HOME=str(self._state))


class Presets(Target):
    """Presets, read and checked as a start does."""

    share = 8

    def __init__(self, folder: Path) -> None:
        self._file = folder / "mine.toml"
        presets = Path(__file__).parents[2] / "presets"
        names = ("digits-mlp", "breast-cancer-binary", "digits-cnn")
        contents = [(presets / f"{name}.toml").read_bytes() for name in names]
        self.inputs = st.sampled_from(contents).flatmap(mutated_bytes)

    def use(self, given: bytes) -> bool:
        self._file.write_bytes(given)
        try:
            preset = read_preset(self._file)
            check_parts(parts_for(preset), ignore_phase)
        except TorchconsoleError as error:
            for line in str(error).splitlines():
                check_message(line)
            return False
        return True


class WorkerMessages(Target):
    """What a worker sends to a client: a hello, a snapshot, then events."""

    share = 15

    def __init__(self, folder: Path) -> None:
        self._folder = make_folder(folder / "runs", status="running", pid=1)
        self._address = folder / "s" / "x"
        self._lock = WorkerLock(self._folder.lock_file)
        self._lock.acquire()
        record = self._folder.load_record()
        record.socket = str(self._address)
        self._folder.write_record(record)
        state = RunState(name=self._folder.name, folder=str(self._folder.path), status="running")
        hello = WorkerHello(version="0", run=state.name, pid=1, lock=lock_id(self._folder.lock_file))
        messages = [encode(each) for each in (hello, Snapshot(state=state, history={}), STARTED)]
        self.inputs = st.one_of(mutated_bytes(b"".join(messages)), _mutated_messages(messages))

    def use(self, given: bytes) -> bool:
        with (
            mock.patch.object(live_client, "CONNECT_SECONDS", 0.02),
            mock.patch.object(live_client, "RECONNECT_SECONDS", 0.0),
            mock.patch.object(wire, "HELLO_SECONDS", 0.2),
        ):
            return asyncio.run(self._attach(given))

    async def _attach(self, given: bytes) -> bool:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(given)
            writer.close()

        server = await asyncio.start_unix_server(answer, sock=listen_at(self._address))
        try:
            async with connect(self._folder) as client:
                if client.read_only:  # it follows the run's files, which do not end
                    return False
                async for message in client.events():
                    if isinstance(message, Snapshot):  # of the next connection
                        break
                return True
        except RunError as error:
            check_message(str(error))
            return False
        finally:
            server.close()


def _mutated_messages(messages: list[bytes]) -> SearchStrategy[bytes]:
    """Lines of which some have other values."""
    lines = (st.one_of(st.just(line.rstrip()), mutated_json(json.loads(line))) for line in messages)
    return st.tuples(*lines).map(lambda lines: b"".join(line + b"\n" for line in lines))


class ClientMessages(Target):
    """What a client sends to a worker, which goes on serving others."""

    share = 15

    def __init__(self, folder: Path) -> None:
        self._served = Served(make_folder(folder / "runs"))
        self._served.__enter__()
        messages = [encode(ClientHello(by="me")), encode(CommandRequest(id="1", command=PauseRun()))]
        self.inputs = st.one_of(mutated_bytes(b"".join(messages)), _mutated_messages(messages))

    def use(self, given: bytes) -> bool:
        return asyncio.run(self._send(given))

    async def _send(self, given: bytes) -> bool:
        reader, writer = await asyncio.open_unix_connection(str(self._served.address))
        writer.write(given)
        writer.write_eof()
        answers = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        assert await self._served.is_serving()
        return b'"fault"' not in answers


IMAGE_FORMATS = {
    "png": ("PNG", "RGB"),
    "jpg": ("JPEG", "RGB"),
    "gif": ("GIF", "P"),
    "bmp": ("BMP", "RGB"),
    "tif": ("TIFF", "CMYK"),
    "webp": ("WEBP", "RGB"),
    "ppm": ("PPM", "L"),
}
"""Suffix -> PIL's name of the format, and a mode."""


class Images(Target):
    """A damaged image in a folder of images."""

    share = 30

    def __init__(self, folder: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
        image, self._folder = Image.fromarray(pixels), folder / "images"
        self._contents: dict[str, bytes] = {}
        for label in ("cat", "dog"):
            (self._folder / label).mkdir(parents=True)
            for number in range(4):
                image.save(self._folder / label / f"good{number}.png")
        for suffix, (name, mode) in IMAGE_FORMATS.items():
            buffer = io.BytesIO()
            image.convert(mode).save(buffer, name)
            self._contents[suffix] = buffer.getvalue()
        self.inputs = st.sampled_from(sorted(IMAGE_FORMATS)).flatmap(
            lambda suffix: st.tuples(st.just(suffix), mutated_bytes(self._contents[suffix]))
        )

    def use(self, given: tuple[str, bytes]) -> bool:
        suffix, content = given
        path = self._folder / "cat" / f"changed.{suffix}"
        path.write_bytes(content)
        try:
            resize = [{"name": "Resize", "size": [8, 8]}]
            transforms = {"train": resize, "val": resize}
            return _loads("ImageFolder", root=str(self._folder), transforms=transforms)
        finally:
            path.unlink()


class Tables(Target):
    """Tables as text and as Parquet."""

    share = 15

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tables"
        self._folder.mkdir()
        draw = random.Random(0)
        colors = ["red", "blue"]
        rows = [(draw.gauss(0, 1), draw.choice(colors), f"2026-0{1 + n % 9}-11", n % 3) for n in range(40)]
        comma = "a,b,d,y\n" + "".join(f"{a:.3f},{b},{d},{y}\n" for a, b, d, y in rows)
        semicolon = comma.replace(",", ";").replace(".", ",")
        quoted = "a\tb\ty\n" + "".join(f'"{a:.2f}"\t"a ""{b}"""\t{y}\n' for a, b, _, y in rows)
        texts = (comma, semicolon, quoted)
        self._texts = [*(text.encode() for text in texts), comma.encode("utf-16"), semicolon.encode("cp1252")]
        kinds = [("csv", content) for content in self._texts]
        kinds += [("parquet", content) for content in [_parquet(rows)] if content]
        self.inputs = st.sampled_from(kinds).flatmap(
            lambda kind: st.tuples(st.just(kind[0]), mutated_bytes(kind[1]))
        )

    def use(self, given: tuple[str, bytes]) -> bool:
        suffix, content = given
        path = self._folder / f"t.{suffix}"
        path.write_bytes(content)
        return _loads("CSV" if suffix == "csv" else "Parquet", root=str(path), target="y", missing="mean")


def _parquet(rows: list[tuple[float, str, str, int]]) -> bytes:
    try:
        import pandas
        import pyarrow as _  # noqa: F401
    except ImportError:
        return b""
    buffer = io.BytesIO()
    pandas.DataFrame(rows, columns=["a", "b", "d", "y"]).to_parquet(buffer)
    return buffer.getvalue()


def _loads(name: str, **keys: Any) -> bool:
    """Load a dataset and read all of it; returns whether it is accepted."""
    try:
        data = load(name, **keys)
        for batches in (data.train, data.val):
            inputs, _ = all_of(batches)
            assert len(inputs)
    except TorchconsoleError as error:
        check_message(str(error))
        return False
    return True


TARGETS: tuple[type[Target], ...] = (
    RunFiles, Commands, Menu, RegistryEntries, Presets, WorkerMessages, ClientMessages, Images, Tables,
)  # fmt: skip
