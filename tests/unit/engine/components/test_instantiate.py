"""Components are found by name; a wrong argument is reported in one line that names the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tests.support.specs import USER_CODE, trusted_file
from torchconsole.engine.components.instantiate import build, call, find, pick
from torchconsole.engine.errors import ComponentError


class Base:
    """The base class of the components in these tests."""


class Thing(Base):
    def __init__(self, size: int, fast: bool = False, **others: Any) -> None:
        self.size, self.fast = size, fast
        if others:
            raise TypeError(f"Thing.__init__() got an unexpected keyword argument {next(iter(others))!r}")
        if size < 0:
            raise AssertionError("size must not be negative\nsecond line")


def closed(size: int, rate: float = 0.1) -> int:
    return size


@pytest.mark.parametrize(
    ("factory", "arguments", "message"),
    [
        (closed, {"size": 1, "rat": 2}, "model.rat: closed takes no argument 'rat', did you mean 'rate'?"),
        (closed, {"rate": 2}, "model.size: closed requires this argument"),
        (closed, {"size": 1, "given": 2}, "model.given: closed takes no argument 'given'"),
        (Thing, {"size": 1, "fast": "no"}, "model.fast: must be true or false, got 'no'"),
        (Thing, {"size": 1, "speed": 2}, "model.speed: Thing takes no argument 'speed'"),
        (Thing, {"size": -1}, "model: Thing rejects these arguments: size must not be negative"),
        (Thing, {"size": "x"}, "model: Thing rejects these arguments: '<' not supported"),
        (Thing, {"size": "x", "fast": True}, "of 'str' and 'int' (size = 'x', fast = True)"),
    ],
)
def test_a_wrong_argument_is_one_line_with_its_key(
    factory: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ComponentError) as caught:
        call("model", factory, {}, arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_preset_cannot_set_an_argument_that_the_engine_fills_in() -> None:
    with pytest.raises(ComponentError, match=r"model\.size: Thing takes no argument 'size'"):
        call("model", Thing, {"size": 1}, {"size": 2})


def test_an_unknown_name_is_reported_with_the_nearest_known_name() -> None:
    with pytest.raises(ComponentError, match=r"optimizer\.name: unknown name 'sgd', did you mean 'SGD'\?"):
        pick("optimizer", "sgd", {"SGD": 1})


def test_user_code_provides_a_subclass_or_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trusted_file(
        tmp_path,
        monkeypatch,
        "from torch.nn import Identity\n"
        "class Mine(Identity): pass\n"
        "class Other: pass\n"
        "def make(): return Mine()\n"
        "def fail(): return 3\n"
        "number = 5\n",
    )
    for name in ("Mine", "make"):
        factory = find("model", f"{path}:{name}", {}, USER_CODE, nn.Module)
        assert type(build("model", factory, nn.Module, {}, {})).__name__ == "Mine"
    for name in ("Other", "number"):
        with pytest.raises(ComponentError, match="must be a class derived from Module"):
            find("model", f"{path}:{name}", {}, USER_CODE, nn.Module)
    with pytest.raises(ComponentError, match=r"model\.name: fail must return a Module object, .* int"):
        build("model", find("model", f"{path}:fail", {}, USER_CODE, nn.Module), nn.Module, {}, {})


def test_only_known_names_are_found() -> None:
    for name in ("os.system", "system", "__init__", "torch.optim.SGD"):
        with pytest.raises(ComponentError, match="unknown name"):
            find("model", name, {"Thing": Thing}, USER_CODE, Base)


def test_too_little_memory_is_not_blamed_on_the_arguments() -> None:
    def factory(size: int) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        call("model", factory, {}, {"size": 3})
