"""Components by name with checked arguments: each mistake is one line that names the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tests.support.specs import OWN, trusted_file
from torchconsole.engine.components.instantiate import build, call, find, pick
from torchconsole.engine.errors import ComponentError


class Base:
    """What the tests' components derive from."""


class Thing(Base):
    def __init__(self, size: int, fast: bool = False, **others: Any) -> None:
        self.size, self.fast = size, fast
        if others:
            raise TypeError(f"Thing.__init__() got an unexpected keyword argument {next(iter(others))!r}")
        if size < 0:
            raise AssertionError("size must not be negative\nby no means")


def closed(size: int, rate: float = 0.1) -> int:
    return size


@pytest.mark.parametrize(
    ("factory", "arguments", "message"),
    [
        (closed, {"size": 1, "rat": 2}, "model.rat: closed takes no argument 'rat', did you mean 'rate'?"),
        (closed, {"rate": 2}, "model.size: closed needs it"),
        (closed, {"size": 1, "given": 2}, "model.given: closed takes no argument 'given'"),
        (Thing, {"size": 1, "fast": "no"}, "model.fast: Thing wants true or false, got 'no'"),
        (Thing, {"size": 1, "speed": 2}, "model.speed: Thing takes no argument 'speed'"),
        (Thing, {"size": -1}, "model: Thing refuses these arguments: size must not be negative"),
        (Thing, {"size": "x"}, "model: Thing refuses these arguments: '<' not supported"),
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


def test_what_the_engine_gives_cannot_be_given_by_a_preset() -> None:
    with pytest.raises(ComponentError, match=r"model\.size: Thing takes no argument 'size'"):
        call("model", Thing, {"size": 1}, {"size": 2})


def test_an_unknown_name_gets_the_nearest_one_as_a_hint() -> None:
    with pytest.raises(ComponentError, match=r"optimizer\.name: there is no 'sgd', did you mean 'SGD'\?"):
        pick("optimizer", "sgd", {"SGD": 1})


def test_the_users_own_is_a_class_of_the_kind_or_a_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        factory = find("model", f"{path}:{name}", {}, OWN, nn.Module)
        assert type(build("model", factory, nn.Module, {}, {})).__name__ == "Mine"
    for name in ("Other", "number"):
        with pytest.raises(ComponentError, match="must be a class derived from Module"):
            find("model", f"{path}:{name}", {}, OWN, nn.Module)
    with pytest.raises(ComponentError, match=r"model\.name: fail returns a int, not a Module"):
        build("model", find("model", f"{path}:fail", {}, OWN, nn.Module), nn.Module, {}, {})


def test_a_name_reaches_nothing_but_what_is_known() -> None:
    for name in ("os.system", "system", "__init__", "torch.optim.SGD"):
        with pytest.raises(ComponentError, match="there is no"):
            find("model", name, {"Thing": Thing}, OWN, Base)
