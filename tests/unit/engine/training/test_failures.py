"""Errors of a GPU are told apart by what the user can do; error messages of CUDA simulate a broken one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from tests.support.sessions import MakeSession, ignore_phase, parts_for
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.errors import DeviceLostError, TrainingError
from torchconsole.engine.training import failures
from torchconsole.engine.training.failures import named_failures, within_memory
from torchconsole.engine.training.setup import build_setup
from torchconsole.engine.training.trial import first_batch, try_batch

ASSERTED = "CUDA error: device-side assert triggered\nSearch for `cudaErrorAssert' in ..."
FULL = "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in ..."


class Failing(nn.Module):
    """A model with a convolution that raises an error of the GPU."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.message = message

    def forward(self, images: Tensor) -> Tensor:
        raise torch.AcceleratorError(self.message)


class Scattering(nn.Module):
    """A model whose operation has no deterministic form on any device."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        scores: Tensor = self.head(flat.put_(torch.arange(3), flat[0, :3]))
        return scores


def fails_with(error: Exception) -> None:
    with named_failures():
        raise error


@pytest.fixture
def any_algorithms() -> Iterator[None]:
    """Switch determinism off again: it holds for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def gpu_that(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Make torch's CUDA calls succeed or fail from here on."""

    def begin(answers: bool) -> None:
        def synchronize() -> None:
            if not answers:
                raise torch.AcceleratorError(ASSERTED)

        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "synchronize", synchronize)

    return begin


def test_a_device_that_is_lost_in_the_first_batch_is_not_blamed_on_the_model() -> None:
    parts = parts_for(load_preset("digits-cnn"))
    parts.model = Failing(ASSERTED)
    with (
        pytest.raises(DeviceLostError, match="device-side assert triggered: this process can no longer"),
        named_failures(),
    ):
        build_setup(parts, ignore_phase)


@pytest.mark.parametrize(
    "words", [FULL, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"]
)
def test_cudas_own_out_of_memory_errors_are_recognized(session: MakeSession, words: str) -> None:
    """As on a GPU that others have filled, without room even for a context."""
    setup = session(preset="digits-cnn").setup
    batch = first_batch(setup)
    setup.model = Failing(words)
    with pytest.raises(
        TrainingError, match=r"^out of memory: CUDA error: .*; lower data.batch_size"
    ) as raised:
        within_memory(named_failures()(lambda: try_batch(setup, batch)), DataConfig(name="digits"))
    assert not isinstance(raised.value, DeviceLostError)


@pytest.mark.parametrize(
    ("owner", "method", "overrides"),
    [
        (torch.optim.AdamW, "step", ()),
        (torch.Tensor, "unfold", ("data.transforms.train=[{name='RandomCrop', size=8, padding=1}]",)),
        (torch.Tensor, "roll", ("data.transforms.batch=[{name='MixUp'}]",)),
    ],
)
def test_a_full_gpu_is_not_blamed_on_the_component_that_was_tried(
    session: MakeSession,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
    overrides: tuple[str, ...],
) -> None:
    def find_no_room(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(owner, method, find_no_room)
    with pytest.raises(
        TrainingError, match=r"^out of memory: CUDA out of memory. Tried to allocate 2.00 GiB"
    ):
        within_memory(
            lambda: first_batch(session(*overrides, preset="digits-cnn").setup), DataConfig(name="digits")
        )


def test_an_error_of_a_library_on_a_lost_device_is_a_lost_device(gpu_that: Callable[[bool], None]) -> None:
    gpu_that(False)
    with pytest.raises(DeviceLostError, match="CUDNN_STATUS_EXECUTION_FAILED: this process can no longer"):
        fails_with(RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"))


@pytest.mark.parametrize(
    "error", [torch.AcceleratorError("CUDA error: no kernel image is available"), RuntimeError("shapes")]
)
def test_an_error_after_which_the_device_still_works_is_not_changed(
    gpu_that: Callable[[bool], None], error: Exception
) -> None:
    gpu_that(True)
    with pytest.raises(type(error), match=str(error)):
        fails_with(error)


@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError(104, "Connection reset by peer")])
def test_a_loader_worker_that_ended_while_it_sent_a_batch_is_named(error: Exception) -> None:
    receive = compile("raise error", "/lib/torch/multiprocessing/reductions.py", "exec")
    with (
        pytest.raises(TrainingError, match="a data loader worker ended while it sent a batch"),
        named_failures(),
    ):
        exec(receive, {"error": error})


def test_another_end_of_a_file_is_not_blamed_on_a_loader_worker() -> None:
    with pytest.raises(EOFError), named_failures():
        raise EOFError


def test_memory_of_the_host_comes_with_the_settings_that_take_it() -> None:
    def fail() -> None:
        raise RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        )

    with pytest.raises(TrainingError, match=r"lower data\.batch_size \(now 7\).*data\.in_memory = false"):
        within_memory(fail, DataConfig(name="digits", batch_size=7))
    with pytest.raises(TrainingError, match=r"lower data\.batch_size, or .*lower data\.num_workers"):
        within_memory(fail)


def test_too_many_open_files_are_named() -> None:
    with pytest.raises(TrainingError, match=r"Too many open files: the limit is"):
        fails_with(OSError(24, "Too many open files"))


def test_a_worker_whose_end_is_told_while_its_lost_batch_is_looked_into_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torch tells it by an error that it raises in the training thread when the signal arrives."""

    def interrupted(error: BaseException) -> bool:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr(failures, "has_lost_its_sender", interrupted)
    with pytest.raises(TrainingError, match=r"worker \(pid 7\) was killed by SIGKILL"), named_failures():
        raise EOFError
