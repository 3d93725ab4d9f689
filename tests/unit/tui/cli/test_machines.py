"""The command of torchrun on each of several machines."""

from __future__ import annotations

import sys

import pytest

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.tui.cli.machines import start_here, torchrun_words


def test_torchrun_gets_its_options_and_torchconsole_all_others() -> None:
    typed = ["train", "demo", "--nnodes", "2", "--set", "training.epochs=3", "--nproc=4"]
    words = torchrun_words([*typed, "--rdzv-endpoint=a:29500", "--name", "x"], 2, "a:29500", 4)
    assert words == [
        *[
            sys.executable,
            "-P",
            "-m",
            "torch.distributed.run",
            "--rdzv_backend=c10d",
            "--rdzv_endpoint=a:29500",
        ],
        *["--nnodes=2", "--nproc_per_node=4", "-m", "torchconsole", "train", "demo"],
        *["--set", "training.epochs=3", "--name", "x", "--headless"],
    ]
    assert torchrun_words(["train", "demo", "--quiet"], 2, "a:29500", 4)[-1] == "--quiet"


@pytest.mark.parametrize(("machines", "endpoint"), [(2, ""), (1, "a:29500"), (0, "a:29500")])
def test_one_of_the_two_options_alone_is_refused(machines: int, endpoint: str) -> None:
    with pytest.raises(TorchconsoleError, match="--nnodes and --rdzv-endpoint belong together"):
        start_here(["train", "demo"], machines, endpoint, 1)
