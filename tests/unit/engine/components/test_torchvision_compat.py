"""torchvision and torchmetrics can be imported next to any build of torch, and only where they are needed.

The details of torchvision that torchvision_compat relies on exist in the installed version.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.machinery import PathFinder
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.specs import trusted_file
from torchconsole.engine.components import torchvision_compat
from torchconsole.engine.components.torchvision_compat import (
    LIBRARIES,
    OLDEST_TORCHVISION,
    import_torchvision,
    prepare_torchvision,
    replaced_download_bar,
    uses_operators,
)

PYPROJECT = Path(__file__).parents[4] / "pyproject.toml"


def run(code: str) -> str:
    """Return the output of a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_oldest_version_is_the_one_that_pyproject_requires() -> None:
    requirements = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    assert f"torchvision>={'.'.join(map(str, OLDEST_TORCHVISION))}" in requirements
    installed = tuple(int(number) for number in re.findall(r"\d+", version("torchvision"))[:2])
    assert installed >= OLDEST_TORCHVISION


def test_the_compiled_library_is_where_torchvision_installs_it() -> None:
    package = find_spec("torchvision")
    assert package is not None
    places = package.submodule_search_locations
    assert [name for name in LIBRARIES if PathFinder.find_spec(name, places)]


def test_the_bar_of_downloads_can_be_replaced() -> None:
    utils: Any = import_torchvision("datasets.utils")
    original = utils.tqdm
    totals: list[int | None] = []
    with replaced_download_bar(totals.append):
        utils.tqdm(total=7, unit="B")
    assert totals == [7]
    assert utils.tqdm is original


def test_no_other_module_relies_on_these_details() -> None:
    engine = Path(torchvision_compat.__file__).parents[1]
    details = re.compile(r"\.tqdm\b|torch\.library|load_library|qnms")
    users = [
        str(path.relative_to(engine))
        for path in engine.rglob("*.py")
        if details.search(path.read_text(encoding="utf-8"))
    ]
    exported = "analysis/standalone/reading.py"  # runs without torchconsole
    assert sorted(users) == [exported, "components/torchvision_compat.py"]


def test_preparing_imports_nothing_and_makes_both_importable() -> None:
    code = (
        "import sys\n"
        "from torchconsole.engine.components.torchvision_compat import prepare_torchvision\n"
        "note = prepare_torchvision()\n"
        "assert not {'torchvision', 'torchmetrics'} & set(sys.modules)\n"
        "import torchvision, torchmetrics\n"
        "from torchvision.extension import _has_ops\n"
        "assert (note is None) is _has_ops(), note\n"
        "assert prepare_torchvision() is note\n"
        "print('fine')\n"
    )
    assert run(code) == "fine"


def test_a_program_may_import_torchvision_first() -> None:
    code = (
        "import sys\n"
        "from torchconsole.engine.components.torchvision_compat import prepare_torchvision_on_import\n"
        "prepare_torchvision_on_import()\n"
        "import torchvision.transforms.v2\n"
        "print(torchvision.__name__)\n"
    )
    assert run(code) == "torchvision"


def test_the_limitation_is_reported_in_one_line() -> None:
    note = prepare_torchvision()
    assert note == prepare_torchvision()
    if note is not None:
        assert "cannot be loaded with torch" in note
        assert "\n" not in note


@pytest.mark.parametrize(
    "source",
    [
        "from torchvision.ops import MLP",
        "import torchvision.ops as ops",
        "from torchvision import models, ops",
        "from torchvision.models.detection import ssd300_vgg16",
        "torch.ops.torchvision.nms(boxes, scores, 0.5)",
        "pooled = roi_align(x, boxes, 7)",
        "image = read_image(path)",
    ],
)
def test_code_that_may_use_the_operators_is_recognized(source: str) -> None:
    assert uses_operators([b"import torch\n", source.encode()])


def test_other_code_that_uses_torchvision_does_not_use_the_operators() -> None:
    assert not uses_operators(
        [b"from torchvision.models import resnet18\nfrom torchvision import transforms\n"]
    )


def test_user_code_may_import_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trusted_file(tmp_path, monkeypatch, "from torchvision.ops import MLP\n")
    code = (
        "from torchconsole.engine.components.instantiate import UserCode\n"
        f"print(UserCode().resolve('model', {path + ':MLP'!r}).__name__)\n"
    )
    assert run(code) == "MLP"


def test_the_networks_of_torchconsole_need_neither() -> None:
    code = (
        "import sys\n"
        "from torchconsole.engine.components import losses, metrics, optimizers, parameters\n"
        "from torchconsole.engine.components.data.types import DataSpec\n"
        "from torchconsole.engine.components.models import build_model\n"
        "from torchconsole.engine.components.instantiate import UserCode\n"
        "from torchconsole.engine.config.schema import ModelConfig\n"
        "build_model(ModelConfig(name='MLP'), DataSpec('multiclass', (4,), 3, []), UserCode())\n"
        "print(sorted({'torchvision', 'torchmetrics'} & set(sys.modules)))\n"
    )
    assert run(code) == "[]"
