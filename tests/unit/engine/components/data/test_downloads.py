"""Downloads, from a local server: they report progress, and the message about a failure is one line."""

from __future__ import annotations

import functools
import gzip
import hashlib
import tempfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.data_files import load, proxies, write_mnist
from torchconsole.engine.components import phase_progress
from torchconsole.engine.components.data.sources import vision_sets
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import PhaseChanged


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder without logging."""

    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with MNIST's compressed files, served where torchvision looks for them."""
    write_mnist(tmp_path / "made", train=300)
    served = tmp_path / "served"
    served.mkdir()
    resources = []
    for path in sorted((tmp_path / "made" / "MNIST" / "raw").iterdir()):
        packed = served / f"{path.name}.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        resources.append((packed.name, hashlib.md5(packed.read_bytes()).hexdigest()))
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(served)))
    mnist = import_torchvision("datasets").MNIST
    monkeypatch.setattr(mnist, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(mnist, "resources", resources)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    with proxies({}):
        yield served
    server.shutdown()
    thread.join()
    server.server_close()


def test_missing_data_is_downloaded_once_with_progress(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phase_progress, "INTERVAL", 0.0)
    reported: list[PhaseChanged] = []
    data = load("MNIST", root=str(tmp_path / "data"), download=True, report=reported.append)
    assert (data.train.samples_per_epoch, data.val.samples) == (300, 20)
    assert [(phase.phase, phase.subject, phase.done) for phase in reported[:2]] == [
        ("loading data", "MNIST", None),
        ("downloading data", "MNIST", None),
    ]
    counted = [phase for phase in reported if phase.done]
    assert all(phase.unit == "bytes" and phase.total and phase.done <= phase.total for phase in counted)
    assert [phase for phase in counted if phase.done == phase.total]

    reported.clear()
    load("MNIST", root=str(tmp_path / "data"), download=True, report=reported.append)
    assert not [phase for phase in reported if "downloading" in phase.phase]


def test_a_data_folder_that_cannot_be_written_is_replaced_for_this_process(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is inside a file here, which binds root too."""
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("TORCHCONSOLE_DATA", str(file / "data"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    vision_sets._temporary_root.cache_clear()
    data = load("MNIST", download=True)
    assert (data.train.samples_per_epoch, data.val.samples) == (300, 20)
    assert f"{file}/data: cannot be written (Not a directory): MNIST is downloaded again" in caplog.text
    with pytest.raises(DataError, match=r"set data\.root to a folder that you can write"):
        load("MNIST", root=str(file / "mine"), download=True)


def test_nothing_is_downloaded_without_permission(mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set data\.download = true"):
        load("MNIST", root=str(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_a_message_about_a_failed_download_is_one_line(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in mirror.iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(DataError) as caught:
        load("MNIST", root=str(tmp_path / "data"), download=True)
    assert "MNIST cannot be downloaded to" in str(caught.value)
    assert "File not found or corrupted" in str(caught.value)

    mnist = import_torchvision("datasets").MNIST
    monkeypatch.setattr(mnist, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(DataError) as caught:
        load("MNIST", root=str(tmp_path / "other"), download=True)
    assert "Connection refused" in str(caught.value)
    assert "check the network, or put the files there yourself" in str(caught.value)
    assert "\n" not in str(caught.value)

    monkeypatch.setattr(mnist, "mirrors", [f"http://127.0.0.1:9/{n}/" for n in range(99)])
    with pytest.raises(DataError, match=r"urlopen \S+ .* \.\.\.; check the network"):
        load("MNIST", root=str(tmp_path / "other"), download=True)
