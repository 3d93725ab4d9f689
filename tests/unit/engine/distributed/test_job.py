"""The device of each process of a job."""

from __future__ import annotations

import gc
import socket
import threading
import weakref

import pytest
import torch
import torch.distributed as dist

from tests.support.sharded_training import job_of_one
from torchconsole.engine.distributed.job import Job
from torchconsole.engine.errors import DeviceError, TrainingError
from torchconsole.engine.run.membership import Membership


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def job_of(local_rank: int, *, by_slurm: bool = False) -> Job:
    """The first process of a job, which other processes have not joined yet."""
    place = Membership(
        0, 4, local_rank, 1, "127.0.0.1", free_port(), "0", launcher_hosts=False, by_slurm=by_slurm
    )
    return Job(place)


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert job_of(3).device_for(torch.device("cuda", 1)) == torch.device("cuda", 3)
    assert job_of(3).device_for(torch.device("cpu")) == torch.device("cpu")


def test_a_task_of_slurm_may_see_only_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert job_of(3, by_slurm=True).device_for(torch.device("cuda")) == torch.device("cuda", 0)
    with pytest.raises(DeviceError, match=r"number 4 on .*, but torch finds only 1 GPU"):
        job_of(3).device_for(torch.device("cuda"))


def test_other_devices_are_refused() -> None:
    with pytest.raises(DeviceError, match="cannot train together on mps"):
        job_of(0).device_for(torch.device("mps"))


def test_a_process_acts_alone_until_all_have_met() -> None:
    job, model = job_of(0), torch.nn.Linear(2, 2)
    assert job.replicate(model) is model
    assert job.gather("own") == ["own"]
    assert job.mean_losses([1.0], [2]) == ([1.0], [2])


def test_a_job_is_kept_until_the_process_exits() -> None:
    """To free the group of a replica after a backward pass hangs, once in some hundred times."""
    with job_of_one(torch.device("cpu")) as job:
        replica = weakref.ref(job.replicate(torch.nn.Linear(2, 2)))
        replica()(torch.ones(1, 2)).sum().backward()  # type: ignore[misc]
    del job
    gc.collect()
    assert replica() is not None


def test_the_others_leave_after_the_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    port = free_port()
    first, second = (
        Job(Membership(rank, 2, rank, 2, "127.0.0.1", port, "0", launcher_hosts=False, by_slurm=False))
        for rank in range(2)
    )
    leaving = threading.Thread(target=second.leave)
    leaving.start()
    leaving.join(0.2)
    assert leaving.is_alive()
    first.leave()
    leaving.join(60)
    assert not leaving.is_alive()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        place = Membership(0, 2, 0, 1, "127.0.0.1", port, "0", launcher_hosts=False, by_slurm=False)
        with pytest.raises(TrainingError, match=rf"cannot meet the others at 127.0.0.1:{port}"):
            Job(place)
