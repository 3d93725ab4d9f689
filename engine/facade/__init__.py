"""The package `torchconsole`: what a training program imports. Nothing heavy is loaded until it is used."""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for True; importing `typing` would take most of the time

if TYPE_CHECKING:
    from typing import Any, Literal

    from torchconsole.engine.library.run_handle import Run as Run

    __version__: str
else:

    def __getattr__(name: str) -> Any:
        if name == "Run":
            from torchconsole.engine.library.run_handle import Run

            return Run
        if name == "__version__":
            from importlib.metadata import version

            return version("torchconsole")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Run", "__version__", "run"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def run(
    name: str = "",
    *,
    total_steps: int | None = None,
    monitor: str | None = None,
    mode: Literal["min", "max"] | None = None,
    patience: int | None = None,
) -> Run:
    """Make a training program a run: the console shows it, steers it and resumes it exactly.

    Four lines are enough: the `with`, `keep`, and a loop over `epochs` and `steps`::

        import torchconsole

        with torchconsole.run("my-net", monitor="val/loss", patience=5) as run:
            run.keep(model=model, optimizer=optimizer, scheduler=scheduler)
            for epoch in run.epochs(30):
                for x, y in run.steps(loader):
                    loss = your_step(x, y)  # forward, backward, optimizer.step()
                    run.log(loss=loss)
                scheduler.step()
                run.evaluated({"val/loss": validate(model)})

    Start it with `python train.py`, and `torchconsole attach` from any other terminal shows it: pause and
    stop it, change its lr, save a checkpoint. Or start it with `torchconsole run train.py`, and it goes on
    after you log out. With TORCHCONSOLE=off in the environment, the loops are plain ones, without a run.

    Resume: `torchconsole resume RUN` runs the same command in the same folder again. `run.keep` restores
    what you gave it, `run.epochs` continues with the epoch, and `run.steps` with the very next batch. On the
    CPU the weights are the same, bit for bit, as without the interruption: shuffling, dropout and random
    transforms included. For that,
    - keep everything that training changes, generators of random numbers of your own included;
    - build data, model and optimizer before the loop as always, from the same seed;
    - expect the code between two epochs to run again for the epoch in which a run was interrupted.

    A stop needs no `break`: it ends the `with` between two steps, after a checkpoint, and the program goes
    on behind it. ctrl+c does the same, and then ends the program.

    Evaluation: `run.evaluated` notes the best checkpoint, `checkpoints/best`, and counts `patience`. With
    `run.on_evaluate(function)`, the key `e` calls `function`, which returns metrics.
    A loop without a data loader begins at `run.step` and ends each step with `run.boundary(loss=loss)`.

    Arguments:
        name: Name of the run; the date and time are added. Default: that of the program's file.
        total_steps: Steps after which the run ends, if its epochs have not ended before.
        monitor: Metric that tells which evaluation is the best. Default: `val/loss`, if there is one.
        mode: Whether the monitored metric should be low ("min") or high ("max"). Default: by its name.
        patience: Evaluations without an improvement after which the run ends. Default: no early stopping.

    Returns what `with` gives you: see `help(torchconsole.Run)`. Raises `RunError` for wrong arguments.
    """
    from torchconsole.engine.library.off_run import OffRun, is_off

    if is_off() and patience is None:
        return OffRun(total_steps)
    from torchconsole.engine.library.own_run import OwnRun
    from torchconsole.engine.library.own_settings import Settings

    settings = Settings(name, total_steps, monitor, mode, patience)
    return OffRun(total_steps, settings) if is_off() else OwnRun(settings)
