"""Loads exported files as their users do, and prints the accuracy of each on a folder of images.

Usage: load_exported.py FOLDER FILE..., where FOLDER has a folder of images for each class. A file of weights
is one of torchvision's resnet18.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

Model = Callable[[Tensor], Tensor]


def import_torchvision() -> Any:
    try:
        import torchvision
    except RuntimeError:  # it was built for another torch
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    import torchvision.transforms.v2  # it is not imported by itself

    return torchvision


def resnet18(weights: dict[str, Tensor]) -> Model:
    model: Any = import_torchvision().models.resnet18(num_classes=2)
    model.load_state_dict(weights)
    return model.eval()  # type: ignore[no-any-return]


def from_state_dict(file: Path) -> tuple[Model, str]:
    described = (file.parent / "input.json").read_text()
    return resnet18(torch.load(file, weights_only=True)), described


def from_safetensors(file: Path) -> tuple[Model, str]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return resnet18(weights), opened.metadata()["torchconsole.input"]


def from_torch_export(file: Path) -> tuple[Model, str]:
    extra: dict[str, Any] = {"torchconsole.input": ""}
    program = torch.export.load(file, extra_files=extra)
    return program.module(), extra["torchconsole.input"]


def from_onnx(file: Path) -> tuple[Model, str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(inputs: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["outputs"], {"inputs": inputs.numpy()})[0])

    return run, session.get_modelmeta().custom_metadata_map["torchconsole.input"]


LOADERS = {
    ".pt": from_state_dict,
    ".safetensors": from_safetensors,
    ".pt2": from_torch_export,
    ".onnx": from_onnx,
}


def prepare(image: Path, described: dict[str, Any]) -> Tensor:
    [resize] = described["transforms"]
    v2 = import_torchvision().transforms.v2
    pixels = v2.functional.pil_to_tensor(Image.open(image).convert("RGB"))
    values = v2.Resize(resize["size"])(pixels).float() / 255
    mean, std = (torch.tensor(described["normalize"][key]).view(-1, 1, 1) for key in ("mean", "std"))
    return (values - mean) / std


def accuracy(folder: Path, file: Path) -> float:
    model, text = LOADERS[file.suffix](file)
    described = json.loads(text)
    images = sorted(folder.glob("*/*.png"))
    labels = torch.tensor([described["classes"].index(image.parent.name) for image in images])
    with torch.no_grad():
        outputs = model(torch.stack([prepare(image, described) for image in images]))
    return (outputs.argmax(dim=1) == labels).float().mean().item()


if __name__ == "__main__":
    print(json.dumps([accuracy(Path(sys.argv[1]), Path(file)) for file in sys.argv[2:]]))
