"""The number of processes that train together."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from torchconsole.engine.client import processes
from torchconsole.engine.client.processes import (
    Processes,
    choose_for_program,
    choose_processes,
    concern_about,
)
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import ComponentError, DeviceError, RunError
from torchconsole.engine.run.membership import JOINS
from torchconsole.engine.run.trained_batch import TrainedBatch


@dataclass
class Gpu:
    """A GPU as NVML shows it."""

    uuid: str
    used: int = 0
    processes: int = 0


@pytest.fixture(autouse=True)
def visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what the tests do to CUDA_VISIBLE_DEVICES, which is not set in them."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with room for many processes."""
    monkeypatch.setattr(processes.psutil, "virtual_memory", lambda: SimpleNamespace(available=2**40))
    monkeypatch.setattr(processes, "free_memory", lambda: iter(()))


def use_nvml(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu) -> None:
    """Let NVML find these GPUs, of 100 bytes each."""
    nvml = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(gpus),
        nvmlDeviceGetHandleByIndex=gpus.__getitem__,
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(used=gpu.used, total=100),
        nvmlDeviceGetComputeRunningProcesses=lambda gpu: [object()] * gpu.processes,
        nvmlDeviceGetUUID=lambda gpu: gpu.uuid,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)


def wanting(processes: int | str, **training: object) -> Preset:
    """Return a preset for so many processes, of 8 samples each."""
    data = {"name": "digits", "batch_size": 8}
    content = {"title": "T", "data": data, "model": {"name": "MLP"}, "training": training}
    return Preset.model_validate(content | {"distributed": {"processes": processes}})


def test_a_preset_asks_for_one_process_unless_it_says_another_number() -> None:
    preset = Preset.model_validate({"title": "T", "data": {"name": "digits"}, "model": {"name": "MLP"}})
    assert choose_processes(preset) == Processes(1)
    assert choose_processes(wanting(3)) == Processes(3)


def limit_memory(monkeypatch: pytest.MonkeyPatch, mebibytes: int) -> None:
    """Leave the machine so much free memory."""
    free = SimpleNamespace(available=mebibytes * 2**20)
    monkeypatch.setattr(processes.psutil, "virtual_memory", lambda: free)


def test_more_processes_than_the_memory_has_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_memory(monkeypatch, 1_234)
    monkeypatch.setattr(processes, "free_memory", lambda: iter([4 * 2**30]))
    assert choose_processes(wanting(6)) == Processes(6)
    refusal = r"7 processes: each needs 200 MiB .* 1,234 MiB are free; use --nproc 6 or less$"
    with pytest.raises(DeviceError, match=refusal):
        choose_processes(wanting(7))
    with pytest.raises(DeviceError, match=refusal):
        choose_for_program("7")
    limit_memory(monkeypatch, 10)
    with pytest.raises(DeviceError, match=r"use --nproc 1$"):
        choose_processes(wanting(2))


def test_a_process_for_each_gpu_needs_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    use_nvml(monkeypatch, *(Gpu(f"GPU-{number}") for number in range(8)))
    limit_memory(monkeypatch, 1_234)
    refusal = "8 processes: each needs 200 MiB"
    with pytest.raises(DeviceError, match=refusal):
        choose_processes(wanting("auto"))
    with pytest.raises(DeviceError, match=refusal):
        choose_for_program("auto")
    assert concern_about("auto", "auto").startswith(refusal)


def test_a_resume_needs_memory_for_those_that_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer than before, because fewer GPUs are free."""
    use_nvml(monkeypatch, Gpu("a"), Gpu("b"), Gpu("c", processes=1))
    limit_memory(monkeypatch, 500)
    assert choose_processes(wanting(8), resumes=True).count == 2
    with pytest.raises(DeviceError, match="8 processes"):
        choose_processes(wanting(8))


def test_auto_takes_the_free_gpus_and_hides_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    use_nvml(
        monkeypatch, Gpu("GPU-a"), Gpu("GPU-b", processes=1), Gpu("GPU-c", used=4), Gpu("GPU-d", used=50)
    )
    assert choose_processes(wanting("auto")) == Processes(2, {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-c"})
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_auto_takes_the_gpus_that_a_batch_system_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5")
    use_nvml(monkeypatch, Gpu("GPU-a", processes=1))
    assert choose_processes(wanting("auto")) == Processes(3)


def test_auto_asks_for_a_number_where_no_gpu_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    use_nvml(monkeypatch)
    with pytest.raises(DeviceError, match=r"this machine has no GPU .*; give a number, such as --nproc 2"):
        choose_processes(wanting("auto"))
    use_nvml(monkeypatch, Gpu("GPU-a", processes=1), Gpu("GPU-b", used=50))
    with pytest.raises(DeviceError, match="all 2 GPUs of this machine are in use"):
        choose_processes(wanting("auto"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(DeviceError, match="no GPU"):
        choose_processes(wanting("auto"))
    use_nvml(monkeypatch, Gpu("GPU-a"))
    with pytest.raises(DeviceError, match=r"training\.device is cpu"):
        choose_processes(wanting("auto", device="cpu"))


def test_a_launcher_that_has_started_several_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOINS, "1")
    assert choose_processes(wanting(3)) == Processes(1)
    assert choose_processes(wanting("auto"), resumes=True) == Processes(1)


@pytest.mark.parametrize("training", [{}, {"device": "cpu"}])
def test_as_many_processes_resume_a_run_where_no_gpu_decides(
    monkeypatch: pytest.MonkeyPatch, training: dict[str, object]
) -> None:
    use_nvml(monkeypatch, *([Gpu("GPU-a")] if training else []))
    found = choose_processes(wanting(3, **training), resumes=True)
    assert (found.count, found.environment) == (3, {})
    assert found.note == "resuming with 3 processes, as before; --nproc N takes another number"


def test_a_resume_uses_the_gpus_that_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    use_nvml(monkeypatch, Gpu("GPU-a"), Gpu("GPU-b", processes=1), Gpu("GPU-c"))
    found = choose_processes(wanting(2), resumes=True)
    assert (found.count, found.environment) == (2, {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-c"})


@pytest.mark.parametrize(("before", "free", "fewer"), [(4, 3, 2), (4, 2, 2), (3, 2, 2), (5, 3, 2), (2, 0, 1)])
def test_a_resume_takes_fewer_processes_where_fewer_gpus_are_free(
    monkeypatch: pytest.MonkeyPatch, before: int, free: int, fewer: int
) -> None:
    """As many as divide the samples of a step, which stay the same."""
    names = ["GPU-a", "GPU-b", "GPU-c"][:free]
    use_nvml(monkeypatch, *map(Gpu, names), Gpu("GPU-x", processes=1))
    found = choose_processes(wanting(before), resumes=True)
    assert found.count == fewer
    assert found.environment == ({"CUDA_VISIBLE_DEVICES": ",".join(names[:fewer])} if free else {})
    assert f"{before} trained the run, and {free} of {free + 1} GPUs" in found.note
    assert choose_processes(wanting(before)).count == before


def test_a_resume_after_several_machines_says_how_many_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines with 2 processes each; the preset has the number of one of them."""
    use_nvml(monkeypatch, Gpu("a"), Gpu("b"))
    found = choose_processes(wanting(2), resumes=True, trained=TrainedBatch(32, 4))
    assert found.note == "resuming with 2 processes: 4 trained the run; --nproc N takes another number"
    use_nvml(monkeypatch, Gpu("a"), Gpu("b", processes=1))
    found = choose_processes(wanting(2), resumes=True, trained=TrainedBatch(32, 4))
    assert ": 4 trained the run, and 1 of 2 GPUs is free" in found.note
    use_nvml(monkeypatch, Gpu("a"), Gpu("b"), Gpu("c"), Gpu("d", processes=1))
    assert choose_processes(wanting(4), resumes=True, trained=TrainedBatch(32, 3)).count == 3


def test_what_the_workers_would_refuse_is_refused_beforehand() -> None:
    trained = TrainedBatch(8, 2)
    assert choose_processes(wanting(4, device="cpu"), resumes=True, trained=trained).count == 4
    with pytest.raises(RunError, match="its 16 samples cannot be divided by 3; resume with 2 processes"):
        choose_processes(wanting(3, device="cpu"), resumes=True, trained=trained)
    with pytest.raises(RunError, match="would be resumed by 6 processes"):
        choose_processes(wanting(2, device="cpu"), trained=trained, machines=3)
    scaled = wanting(4, device="cpu").distributed.model_copy(update={"lr_scaling": "sqrt"})
    with pytest.raises(RunError, match="which would change the lr; resume with 2 processes"):
        choose_processes(wanting(4, device="cpu").model_copy(update={"distributed": scaled}), trained=trained)
    shared = wanting(2).distributed.model_copy(update={"sync_batchnorm": True})
    with pytest.raises(ComponentError, match="for GPUs only"):
        choose_processes(wanting(2, device="cpu").model_copy(update={"distributed": shared}))


def test_the_number_of_a_launcher_is_refused_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    place = {JOINS: "1", "RANK": "0", "WORLD_SIZE": "3", "MASTER_ADDR": "gpu7", "MASTER_PORT": "29500"}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    assert choose_processes(wanting(1), resumes=True, trained=TrainedBatch(8, 2)).count == 1
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    with pytest.raises(RunError, match="its 16 samples cannot be divided by 3"):
        choose_processes(wanting(1), resumes=True, trained=TrainedBatch(8, 2))


def test_a_new_run_takes_gpus_that_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    use_nvml(monkeypatch, Gpu("a", processes=1), Gpu("b"), Gpu("c"), Gpu("d", used=50))
    assert choose_processes(wanting(2)) == Processes(2, {"CUDA_VISIBLE_DEVICES": "b,c"})
    assert choose_processes(wanting(2, device="cpu")) == Processes(2)
    found = choose_processes(wanting(3))
    assert (found.count, found.environment) == (3, {})
    assert found.note == ("3 processes, but only 2 of 4 GPUs are free; in use (numbers of nvidia-smi): 0, 3")
    use_nvml(monkeypatch, Gpu("a"))
    assert choose_processes(wanting(2)) == Processes(2)


def test_a_resume_with_scaled_lr_keeps_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    use_nvml(monkeypatch, Gpu("GPU-a"))
    preset = wanting(2)
    scaled = preset.distributed.model_copy(update={"lr_scaling": "linear"})
    assert choose_processes(preset.model_copy(update={"distributed": scaled}), resumes=True).count == 2


def test_a_program_runs_in_as_many_processes_as_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    use_nvml(monkeypatch, Gpu("a"), Gpu("b", used=50), Gpu("c"))
    assert choose_for_program(None) == Processes(1)
    assert choose_for_program("1") == Processes(1)
    assert choose_for_program("2") == Processes(2, {"CUDA_VISIBLE_DEVICES": "a,c"})
    assert choose_for_program("3") == Processes(3)
    assert choose_for_program("auto") == Processes(2, {"CUDA_VISIBLE_DEVICES": "a,c"})
    use_nvml(monkeypatch)
    with pytest.raises(DeviceError, match="--nproc auto: this machine has no GPU"):
        choose_for_program("auto")


@pytest.mark.parametrize(
    ("wanted", "device", "concern"),
    [
        (1, "cpu", ""),
        (2, "cpu", ""),
        (3, "cpu", "3 processes on the CPU take turns: 2 cores can be used here"),
        (3, "auto", "3 processes, but this machine has 2 GPUs"),
        (2, "cuda", "2 processes, but only 1 of 2 GPUs is free; in use (numbers of nvidia-smi): 1"),
        ("auto", "auto", ""),
        (6000, "auto", "6000 processes: each needs 200 MiB"),
    ],
)
def test_what_speaks_against_a_number_of_processes_is_told(
    monkeypatch: pytest.MonkeyPatch, wanted: int | str, device: str, concern: str
) -> None:
    monkeypatch.setattr(processes, "usable_cores", lambda: 2)
    use_nvml(monkeypatch, Gpu("a"), Gpu("b", processes=1))
    found = processes.concern_about(wanted, device)
    assert found.startswith(concern)
    assert bool(found) == bool(concern)


def test_without_a_gpu_the_cores_count_and_auto_has_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "usable_cores", lambda: 1)
    use_nvml(monkeypatch)
    assert processes.concern_about(2, "auto").endswith("take turns: 1 core can be used here")
    assert processes.concern_about("auto", "auto").startswith("this machine has no GPU (NVML); give a number")
