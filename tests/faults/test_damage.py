"""Damaged or forged checkpoints are refused by name and do no harm."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.fault_counts import count, every
from tests.support.fault_runs import Runs, is_being_written
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.run.checkpoints import FORMAT_VERSION, Manifest, fingerprint, read_manifest
from torchconsole.engine.run.names import MANIFEST_FILE, STATE_FILE
from torchconsole.engine.training.checkpoint import newest_valid, read_checkpoint, write_checkpoint

Tally = Callable[[str], None]

STATE: dict[str, Any] = {
    "weights": torch.arange(64.0).reshape(8, 8),
    "nothing": torch.zeros(0),
    "step": 3,
    "lr": [0.1],
}


def write(folder: Path, step: int = 3, state: Any = STATE) -> Path:
    return write_checkpoint(folder, state, Manifest(step=step, epoch=1, revision=0, kept=False, metrics={}))


def forge(folder: Path, content: bytes) -> Path:
    """Write a checkpoint with any content and a manifest with its correct hash."""
    checkpoint = write(folder)
    (checkpoint / STATE_FILE).write_bytes(content)
    described = json.loads((checkpoint / MANIFEST_FILE).read_text())
    described["files"][STATE_FILE] = fingerprint(checkpoint / STATE_FILE)
    (checkpoint / MANIFEST_FILE).write_text(json.dumps(described))
    return checkpoint


def saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_a_truncated_checkpoint_is_rejected_by_name_and_the_previous_one_used(
    tmp_path: Path, tally: Tally
) -> None:
    older, newer = write(tmp_path, 9900), write(tmp_path, 10000)
    intact = (newer / STATE_FILE).read_bytes()
    lengths = random.Random(0).sample(range(len(intact)), count(200))
    for length in lengths:
        (newer / STATE_FILE).write_bytes(intact[:length])
        folder, _, [problem] = newest_valid(tmp_path)
        assert folder == older
        assert str(newer) in problem
    tally(f"truncated at {len(lengths)} of {len(intact)} lengths: rejected by name")


def test_a_run_resumes_from_the_checkpoint_before_a_truncated_one(runs: Runs, tally: Tally) -> None:
    folder = runs.make()
    runs.kill_after_saves(folder, 6, 12)
    os.truncate(folder.checkpoints / "step-00000012" / STATE_FILE, 1000)
    assert runs.resume(folder) == runs.finish(runs.make())
    log = folder.log_file.read_text()
    assert "skipped a damaged checkpoint: " in log
    assert "step-00000012/state.pt: is damaged" in log
    tally("a run skipped a truncated checkpoint and resumed bit-identically")


def test_one_flipped_bit_in_the_state_is_rejected(tmp_path: Path, tally: Tally) -> None:
    checkpoint = write(tmp_path)
    intact = (checkpoint / STATE_FILE).read_bytes()
    bits = random.Random(0).sample(range(8 * len(intact)), count(2000))
    for bit in bits:
        (checkpoint / STATE_FILE).write_bytes(flipped(intact, bit))
        with pytest.raises(CheckpointError, match="is damaged"):
            read_checkpoint(checkpoint)
    tally(f"flipped {len(bits)} of {8 * len(intact)} bits of state.pt: rejected each time")


def test_one_flipped_bit_in_the_manifest_does_no_harm(tmp_path: Path, tally: Tally) -> None:
    """The checkpoint is refused, or the state that is read is correct."""
    checkpoint = write(tmp_path)
    intact = (checkpoint / MANIFEST_FILE).read_bytes()
    bits = every(range(8 * len(intact)))
    refused = 0
    for bit in bits:
        (checkpoint / MANIFEST_FILE).write_bytes(flipped(intact, bit))
        try:
            assert torch.equal(read_checkpoint(checkpoint)["weights"], STATE["weights"])
        except CheckpointError:
            refused += 1
    assert 0 < refused < len(bits)
    tally(f"flipped {len(bits)} of {8 * len(intact)} bits of manifest.json: {refused} refused, no harm")


def test_a_pickle_payload_is_refused_without_a_side_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    mark = tmp_path / "mark"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.system, (f"touch {mark}",))

    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    payloads = [saved({"weights": Payload()}), saved([Payload()]), old_format({"weights": Payload()})]
    for payload in payloads:
        checkpoint = forge(tmp_path / "checkpoints", payload)
        with pytest.raises(CheckpointError, match="not a checkpoint of plain tensors"):
            read_checkpoint(checkpoint)
    assert not mark.exists()
    torch.load(io.BytesIO(payloads[0]), weights_only=False)
    assert mark.exists(), "the payload works if it is unpickled"
    tally(f"{len(payloads)} pickle payloads refused, with no side effect")


def test_a_tiny_file_that_claims_a_large_tensor_is_refused_without_allocating_it(
    tmp_path: Path, tally: Tally
) -> None:
    expanded = saved({"weights": torch.zeros(1).expand(10**6, 10**6)})
    deflated = repacked(saved({"weights": torch.zeros(16 * 2**20)}), zipfile.ZIP_DEFLATED)
    for claim in (claiming_a_tensor_of_a_million_squared(), expanded, deflated):
        assert len(claim) < 500_000
        checkpoint = forge(tmp_path, claim)
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak (VmHWM)
        before = memory("VmRSS")
        with pytest.raises(CheckpointError, match="not a checkpoint of plain tensors"):
            read_checkpoint(checkpoint)
        assert memory("VmHWM") - before < 32 * 2**20
    tally("3 tiny files that claim large tensors: rejected without allocating them")


def test_the_refusal_of_another_models_checkpoint_lists_the_differing_keys(runs: Runs, tally: Tally) -> None:
    folder = runs.make()
    runs.kill_after_saves(folder, 6)
    runs.change(folder, "model.name=MLP", "model.hidden=[8]")
    reason = runs.fail(folder, "--resume")
    for kind in ("missing: ", "unexpected: conv.weight, conv.bias, norm.weight"):
        assert kind in reason
    runs.change(folder, f"model.name={runs.subject}:Net", "model.hidden=", "model.width=7")
    assert "conv.weight is 6x3x3x3 instead of 7x3x3x3" in runs.fail(folder, "--resume")
    tally("checkpoints of 2 other models: missing, unexpected and mismatched keys listed")


def test_a_log_has_all_lines_when_the_last_process_has_ended(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    assert not is_being_written(log)
    last_words = [sys.executable, "-c", "input(); print('Traceback')"]
    with (
        log.open("wb") as output,
        subprocess.Popen(last_words, stdin=subprocess.PIPE, stdout=output) as process,
    ):
        output.close()
        assert is_being_written(log)
        process.communicate(b"\n")
    assert not is_being_written(log)
    assert log.read_bytes() == b"Traceback\n"


def test_a_newer_format_is_refused_by_its_version(tmp_path: Path, tally: Tally) -> None:
    checkpoint = write(tmp_path)
    described = json.loads((checkpoint / MANIFEST_FILE).read_text())
    newer = {**described, "format_version": FORMAT_VERSION + 1, "layout": {"shards": 4}}
    (checkpoint / MANIFEST_FILE).write_text(json.dumps(newer))
    with pytest.raises(CheckpointError, match=rf"format {FORMAT_VERSION + 1} is newer than this program's"):
        read_manifest(checkpoint)
    with pytest.raises(CheckpointError, match="is newer"):
        newest_valid(tmp_path)
    tally("a newer format is refused")


@pytest.mark.parametrize(("name", "then"), [("threads", "64"), ("device", "cuda"), ("torch", "2.0.0")])
def test_resuming_in_another_environment_warns_that_it_is_not_bit_exact(
    runs: Runs, name: str, then: str, tally: Tally
) -> None:
    folder = runs.make()
    runs.kill_after_saves(folder, 6)
    newest, state, _ = newest_valid(folder.checkpoints)
    state["made_with"][name] = then
    write_checkpoint(folder.checkpoints, state, read_manifest(newest))
    runs.resume(folder)
    assert f"not bit-exact, changed since the checkpoint: {name} {then} -> " in folder.log_file.read_text()
    tally(f"{name} changed: resumed with a warning that it is not bit-exact")


def memory(kind: str) -> int:
    """Return the memory of this process in bytes: VmRSS is the current value, VmHWM the peak."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition(f"{kind}:")[2].split()[0])


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def old_format(content: Any) -> bytes:
    """Serialize in torch's format from before it used zip files."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def repacked(
    data: bytes, compression: int = zipfile.ZIP_STORED, edit: Callable[[str, bytes], bytes] | None = None
) -> bytes:
    """Rewrite a zip file, with its members compressed or edited."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, "w", compression) as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, edit(name, content) if edit else content)
    return buffer.getvalue()


def claiming_a_tensor_of_a_million_squared() -> bytes:
    """Save a tensor of 64 bytes whose pickle claims the size 10^6 x 10^6."""
    million, side = b"J" + (10**6).to_bytes(4, "little"), b"M" + (1000).to_bytes(2, "little")

    def edit(name: str, content: bytes) -> bytes:
        if name.endswith("data.pkl"):
            assert million in content
            assert side in content
            square = b"\x8a\x06" + (10**12).to_bytes(6, "little")
            return content.replace(million, square).replace(side, million)
        return content[:64] if "/data/" in name else content

    return repacked(saved({"weights": torch.zeros(1000, 1000)}), edit=edit)
