"""The schema of `[tracking]`: other tools that get what a run logs."""

from __future__ import annotations

from importlib.util import find_spec

from pydantic import Field

from torchconsole.engine.config.section import Section
from torchconsole.engine.errors import PresetError

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""Key of `[tracking]` -> the package that it needs. The extra of torchconsole has the key's name."""


class TrackingConfig(Section):
    """Other tools that get what a run logs, while it trains."""

    csv: bool = Field(default=False, description="write every logged value to scalars.csv")
    tensorboard: bool = Field(
        default=False,
        description="write TensorBoard's files to tensorboard/: values, histograms of the weights and "
        "gradients, the graph, sample images, confusion matrices, worst samples, hyperparameters; extra "
        "tensorboard",
    )
    wandb: bool = Field(
        default=False,
        description="send values, settings and the end to Weights & Biases; without a login, write them to "
        "wandb/ for `wandb sync`; extra wandb",
    )
    mlflow: bool = Field(
        default=False,
        description="send values, settings and the end to MLFLOW_TRACKING_URI; if that is not set, write "
        "them to mlflow/; extra mlflow",
    )

    @property
    def wanted(self) -> list[str]:
        """The keys that are true."""
        return [name for name in type(self).model_fields if getattr(self, name)]

    def require_packages(self) -> None:
        """Raise PresetError with a line for each tool whose package is not installed."""
        missing = [key for key in self.wanted if key in PACKAGES and find_spec(PACKAGES[key]) is None]
        if missing:
            raise PresetError(*(missing_extra(key) for key in missing))


def missing_extra(key: str) -> str:
    """Return the message that a tool's package is not installed."""
    return (
        f"tracking.{key}: requires {PACKAGES[key]}: pip install 'torchconsole[{key}]', or set "
        f"tracking.{key} = false"
    )
