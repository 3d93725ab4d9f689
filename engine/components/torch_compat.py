"""The private names of torch that torchconsole relies on.

They exist in torch 2.8 to 2.13. When a new version of torch breaks one of them, tests/unit/engine/components/
test_torch_compat.py fails and this file is the place to change.
"""

from __future__ import annotations

import functools
import queue
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import loss
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.utils.data import DataLoader, _utils, dataloader

Item = TypeVar("Item")

OLDEST_TORCH = (2, 8)
"""The oldest version that has all names used here; pyproject.toml requires it."""

_error_if_any_worker_fails = _utils.signal_handling._error_if_any_worker_fails  # type: ignore[attr-defined]

LossBase = loss._Loss
"""The base class of the losses in torch.nn."""

LOADER_ITERATOR = dataloader._BaseDataLoaderIter
"""The base class of what iterates over a DataLoader."""

SYNC_BUFFERS = "_sync_buffers"
"""The method of DistributedDataParallel that waits for the buffers of the first process."""


def has_begun_to_persist(loader: object) -> bool:
    """Whether this is a DataLoader with persistent workers that run already; its next pass resets them."""
    return isinstance(loader, dataloader.DataLoader) and loader._iterator is not None


def set_loader_shutdown_seconds(seconds: float) -> None:
    """Set how long a DataLoader waits, twice, for a worker to exit before it terminates the worker."""
    _utils.MP_STATUS_CHECK_INTERVAL = seconds


class WatchedLoader(DataLoader[Item]):
    """A DataLoader that reports the end of a worker where an item is taken, within half a second.

    torch's own raises from the handler of SIGCHLD, wherever the main thread happens to be. In a destructor or
    a weak reference's callback Python drops that error, and the loop waits for the worker's item until
    `timeout`; within a queue's `put` the error leaves the queue locked. Raises RuntimeError, worded as torch
    words it.
    """

    def _get_iterator(self) -> dataloader._BaseDataLoaderIter:
        if self.num_workers == 0:
            return super()._get_iterator()
        # torch sets its handler once for each process, unless it has set it already.
        _utils.signal_handling._SIGCHLD_handler_set = True
        self.check_worker_number_rationality()
        return _WatchedIterator(self)


class _WatchedIterator(dataloader._MultiProcessingDataLoaderIter):
    CHECK_SECONDS = 0.5
    """Longest wait for an item before the workers are looked at again."""

    def _next_data(self) -> Any:
        # Of all loaders: a validation worker that dies ends the training at the next batch, too.
        _error_if_any_worker_fails()
        return super()._next_data()  # type: ignore[no-untyped-call]

    def _try_get_data(self, timeout: float = CHECK_SECONDS) -> tuple[bool, Any]:
        """Return (True, item), or (False, None) if none arrives within `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                return True, self._data_queue.get(timeout=max(0.0, min(left, self.CHECK_SECONDS)))
            except queue.Empty:
                self._raise_if_ended()
                if left <= 0:
                    return False, None
            except (EOFError, OSError):
                self._await_end_of_sender()
                raise

    def _await_end_of_sender(self) -> None:
        """Raise RuntimeError once a worker has ended. Its connections are closed a moment before that."""
        end = time.monotonic() + self.CHECK_SECONDS
        while time.monotonic() < end:
            self._raise_if_ended()
            time.sleep(0.005)

    def _raise_if_ended(self) -> None:
        for worker in self._workers:
            if (code := worker.exitcode) is None:
                continue
            how = f"is killed by signal: {signal.strsignal(-code)}" if code < 0 else "exited unexpectedly"
            raise RuntimeError(f"DataLoader worker (pid {worker.pid}) {how}.")
        if self._pin_memory and not self._pin_memory_thread.is_alive():
            raise RuntimeError("Pin memory thread exited unexpectedly")


def shut_down_workers(loader: DataLoader[Any]) -> None:
    """Stop the worker processes of a loader with `persistent_workers`; do nothing if none have started."""
    iterator = loader._iterator
    if iterator is not None:
        iterator._shutdown_workers()  # type: ignore[attr-defined]


def is_profiling() -> bool:
    """Whether a profiler of torch runs, torchconsole's own or one of the user's code."""
    return bool(torch.autograd._profiler_enabled())  # type: ignore[attr-defined]


def absent_parameters(module: nn.Module) -> list[str]:
    """Return the names of a module's own parameters that it was built without, such as bias."""
    return [name for name, parameter in module._parameters.items() if parameter is None]


def layer_versions(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Return the versions of a state dict's layers by module name; empty if it has none.

    The dict can be changed in place. `load_state_dict` uses it to convert the state of older layers.
    """
    versions: dict[str, Any] = getattr(state_dict, "_metadata", {})
    return versions


def unhooked_step(optimizer: Optimizer) -> Callable[[], object]:
    """Return `optimizer.step` without the profiler mark and the search for hooks of torch's own classes.

    Both take a third of a small model's update. An optimizer that has hooks, which a user's function may have
    registered, keeps them.
    """
    inner = getattr(type(optimizer).step, "__wrapped__", None)
    if inner is None or not type(optimizer).__module__.startswith("torch.optim."):
        return optimizer.step
    hooks = optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks
    if any(hooks) or "step" in vars(optimizer):
        return optimizer.step
    return functools.partial(inner, optimizer)


def call_after_backward(loss: Tensor, function: Callable[[], None]) -> None:
    """Call `function` in the next backward pass from `loss`, once all gradients are computed.

    What DistributedDataParallel then waits for comes later: callbacks run in the order in which they are
    queued, and it queues its own with the last gradients.
    """

    def begin(gradient: Tensor) -> None:
        torch.autograd.Variable._execution_engine.queue_callback(function)

    loss.register_hook(begin)  # type: ignore[no-untyped-call]


def checks_found_inf(optimizer: Optimizer) -> bool:
    """Whether the optimizer's step leaves itself out on the device if `optimizer.found_inf` is not 0."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def is_cuda_used() -> bool:
    """Whether this process has used a GPU already; asking does not begin to."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def skip_in_compilation(package: str) -> None:
    """Have torch.compile call the functions of a package as they are, instead of compiling them.

    Call this when an optimizer has been made: torch has imported its compiler then, which takes a second.
    """
    from torch._dynamo import trace_rules

    trace_rules.add(package)


class Replica(DistributedDataParallel):
    """A replica of a model that tells when it has received the buffers of the first process."""

    def __init__(self, model: nn.Module, on_buffers: Callable[[], None], *, finds_unused: bool) -> None:
        super().__init__(model, find_unused_parameters=finds_unused)
        self._on_buffers = on_buffers

    def _sync_buffers(self) -> None:
        super()._sync_buffers()  # type: ignore[no-untyped-call]
        self._on_buffers()
