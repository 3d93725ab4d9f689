"""Freezes and unfreezes layers of a live run. What is frozen is part of its checkpoints."""

from __future__ import annotations

from torch import nn

from torchconsole.engine.components.parameters import enter_train_mode
from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.info import ModelSummary
from torchconsole.engine.text import did_you_mean
from torchconsole.engine.training.setup import TrainingSetup


class FrozenLayers:
    """The parameters that commands have frozen, besides those of the preset's model.freeze.

    A frozen parameter has no gradient, so that the optimizer skips it: no step, no weight decay, and its
    state in the optimizer stays as it is until it is trained again.
    """

    def __init__(self, setup: TrainingSetup) -> None:
        self._model = setup.model
        self._config = setup.preset.model
        self._names: set[str] = set()
        self._in_loss: set[str] = set()
        """Parameters that had a gradient when they were frozen: they have none until the next step.

        Checkpoints have them too: after a resume nothing else tells that they take part in the loss.
        """

    def enter_train_mode(self, epoch: int) -> None:
        """Set training mode for an epoch, as `parameters.enter_train_mode` does, and keep frozen what is."""
        enter_train_mode(self._model, self._config, epoch, self._names)

    def freeze(self, layer: str, epoch: int) -> str:
        """Freeze the parameters of a module, and say so. Raises CommandRejectedError."""
        inside = self._inside(layer)
        chosen = {name: weight for name, weight in inside.items() if weight.requires_grad}
        if not chosen:
            raise CommandRejectedError(f"{layer} is frozen already")
        left = {name: weight for name, weight in self._trained().items() if name not in chosen}
        if not left:
            raise CommandRejectedError(f"{layer} has all parameters that are trained; leave at least one")
        # The gradients of the last step are still there: what has none may take no part in the loss.
        if self._with_gradient(chosen) and not self._with_gradient(left):
            raise CommandRejectedError(f"no parameter outside {layer} has a gradient; leave at least one")
        self._names |= chosen.keys()
        self._in_loss |= self._with_gradient(chosen)
        for weight in chosen.values():
            weight.grad = None
        self.enter_train_mode(epoch)
        return f"froze {layer} ({_count(chosen)} parameters)"

    def unfreeze(self, layer: str, epoch: int) -> str:
        """Train again what a command has frozen in a module, and say so. Raises CommandRejectedError."""
        inside = self._inside(layer)
        chosen = {name: weight for name, weight in inside.items() if name in self._names}
        if not chosen and all(weight.requires_grad for weight in inside.values()):
            raise CommandRejectedError(f"{layer} is not frozen")
        if not chosen:
            key = "model.freeze" if self._config.freeze else "the model's code"
            raise CommandRejectedError(
                f"{layer} is frozen by {key}; to train it, start a run without that from these weights: "
                "`torchconsole train --from`"
            )
        self._names -= chosen.keys()
        for weight in chosen.values():
            weight.requires_grad_(True)
        self.enter_train_mode(epoch)
        return f"unfroze {layer} ({_count(chosen)} parameters)"

    def state_dict(self) -> list[str]:
        """Return the names of the frozen parameters."""
        return sorted(self._names)

    def load_state_dict(self, names: list[str]) -> None:
        """Freeze these parameters, and no others, when training mode is entered next.

        Raises KeyError for an unknown one.
        """
        parameters = dict(self._model.named_parameters())
        for name in names:
            parameters[name].requires_grad_(False)
        for name in self._names.difference(names):
            parameters[name].requires_grad_(True)
        self._names = set(names)

    def in_loss(self) -> list[str]:
        """Return the names of the parameters that had a gradient when they were frozen."""
        return sorted(self._in_loss)

    def load_in_loss(self, names: list[str]) -> None:
        """Restore what `in_loss` returned."""
        self._in_loss = set(names)

    def _with_gradient(self, parameters: dict[str, nn.Parameter]) -> set[str]:
        """Return the names of those that have a gradient, or had one when they were frozen."""
        return {n for n, weight in parameters.items() if weight.grad is not None or n in self._in_loss}

    def _trained(self) -> dict[str, nn.Parameter]:
        return {name: weight for name, weight in self._model.named_parameters() if weight.requires_grad}

    def _inside(self, layer: str) -> dict[str, nn.Parameter]:
        """Return the parameters of a module by their names in the model. Raises CommandRejectedError."""
        modules = dict(self._model.named_modules())
        if not layer or layer not in modules:
            raise CommandRejectedError(
                f"the model has no layer {layer!r}{did_you_mean(layer, list(filter(None, modules)))}"
            )
        wanted = {id(weight) for weight in modules[layer].parameters()}
        if not wanted:
            raise CommandRejectedError(f"{layer} has no parameters")
        return {name: weight for name, weight in self._model.named_parameters() if id(weight) in wanted}


def count_trainable(summary: ModelSummary, model: nn.Module) -> ModelSummary:
    """Return the layer table with the numbers of parameters that are trained now."""
    modules = dict(model.named_modules())
    layers = [
        layer.model_copy(update={"trainable": _trainable(modules[layer.name])})
        if layer.name in modules
        else layer
        for layer in summary.layers
    ]
    return summary.model_copy(update={"layers": layers, "trainable": _trainable(model)})


def _trainable(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)


def _count(parameters: dict[str, nn.Parameter]) -> str:
    return f"{sum(weight.numel() for weight in parameters.values()):,}"
