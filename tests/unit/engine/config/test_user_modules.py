"""The bytes of user code that are compared with what the user trusts are those that run, whoever imports."""

from __future__ import annotations

import _bisect
import compileall
import importlib
import importlib.util
import inspect
import pickle
import py_compile
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from torchconsole.engine.components.instantiate import UserCode, call
from torchconsole.engine.config import user_modules
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.errors import ComponentError, TrustError

EVIL = "from pathlib import Path\nPath('evil').touch()\nN = 'evil'\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder; modules and folders that user code adds are forgotten afterwards."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(user_modules._finder, "folders", [])
    monkeypatch.setattr(user_modules._finder, "given", set())
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if user_modules.is_user_module(name) or name.startswith("u_")]:
        del sys.modules[name]
        user_modules._loaded.discard(name)
    importlib.invalidate_caches()


def write(path: str, text: str, *, trusted: bool = True) -> Path:
    """Write a file of user code in the working folder."""
    file = Path.cwd() / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    if trusted:
        trust(file)
    return file


def resolve(name: str) -> object:
    """Import `name` as a preset does."""
    return UserCode().resolve("model", name)


@pytest.mark.parametrize("mode", list(py_compile.PycInvalidationMode))
def test_bytecode_beside_a_trusted_file_does_not_run(mode: py_compile.PycInvalidationMode) -> None:
    helper = write("u_helper.py", EVIL)
    compileall.compile_file(helper, quiet=1, invalidation_mode=mode)
    (cached,) = Path("__pycache__").iterdir()
    bytecode = cached.read_bytes()
    stat = helper.stat()
    write("u_helper.py", "N = 'good'".ljust(stat.st_size))
    own = write("u_own.py", "import u_helper\nN = u_helper.N\n")
    compileall.compile_file(own, quiet=1, invalidation_mode=mode)
    assert resolve("u_own.py:N") == "good"
    assert not Path("evil").exists()
    assert cached.read_bytes() == bytecode


@pytest.mark.parametrize("first", ["\r", "\f\r"])
def test_the_text_that_is_shown_is_the_text_that_runs(first: str) -> None:
    """Python's compiler finds the encoding in another line than its library: a lone CR ends a line for it."""
    file = write("u_own.py", "", trusted=False)
    file.write_bytes(f"{first}# coding: utf-7\n# +AAo-N = 'evil'\n".encode())
    trust(file)
    with pytest.raises(ComponentError, match="has no 'N'"):
        resolve("u_own.py:N")


def test_no_bytecode_is_written() -> None:
    write("u_own.py", "import u_helper\nN = 1\n")
    write("u_helper.py", "")
    resolve("u_own.py:N")
    assert not Path("__pycache__").exists()


def test_bytecode_without_a_source_is_refused() -> None:
    helper = write("u_helper.py", EVIL)
    py_compile.compile(str(helper), "u_helper.pyc")
    helper.unlink()
    write("u_own.py", "import u_helper\nN = 1\n")
    with pytest.raises(TrustError, match=r"model\.name: .*u_helper\.pyc is bytecode"):
        resolve("u_own.py:N")
    assert not Path("evil").exists()


IMPORTS: dict[str, str] = {
    "a helper": "import u_x",
    "a helper in a function": "def f():\n    import u_x\nf()",
    "by name": "import importlib\nimportlib.import_module('u' + '_x')",
    "a loader": (
        "import importlib.util as u\ns = u.spec_from_file_location('u_y', 'u_x.py')\n"
        "s.loader.exec_module(u.module_from_spec(s))"
    ),
    "an old loader": "import importlib.machinery as m\nm.SourceFileLoader('u_y', 'u_x.py').load_module()",
    "from a folder on sys.path": "import sys\nsys.path.insert(0, 'elsewhere')\nimport u_z",
    "runpy": "import runpy\nrunpy.run_module('u_x')",
    "a package": "import u_pkg",
    "a module of a package": "import u_pkg.sub",
    "a module of a namespace package": "from u_space.inner import sub",
    "despite ImportError": "try:\n    import u_x\nexcept ImportError:\n    pass",
}


@pytest.mark.parametrize("code", IMPORTS.values(), ids=IMPORTS)
def test_an_untrusted_file_does_not_run_however_it_is_imported(code: str) -> None:
    write("u_own.py", f"{code}\nN = 1\n")
    files = [write(name, EVIL, trusted=False) for name in ("u_x.py", "elsewhere/u_z.py", "u_pkg/__init__.py")]
    files.append(write("u_space/inner/sub.py", EVIL, trusted=False))
    write("u_pkg/sub.py", "")
    with pytest.raises(TrustError, match=r"do not trust.*torchconsole trust /\S+\.py$"):
        resolve("u_own.py:N")
    assert not Path("evil").exists()
    for file in files:
        trust(file)
    assert resolve("u_own.py:N") == 1
    assert Path("evil").exists()


@pytest.mark.parametrize("changed", ["u_own.py", "u_pkg/__init__.py", "u_pkg/sub.py"])
def test_a_file_that_changes_after_it_was_trusted_does_not_run(changed: str) -> None:
    write("u_own.py", "from u_pkg.sub import N\n")
    write("u_pkg/__init__.py", "# a package\n")
    write("u_pkg/sub.py", "N = 1\n")
    write(changed, EVIL, trusted=False)
    with pytest.raises(TrustError, match=changed):
        resolve("u_own.py:N")
    assert not Path("evil").exists()


def test_a_module_of_a_package_and_its_relative_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    write("u_pkg/__init__.py", "from .sub import N as M\n")
    write("u_pkg/sub.py", "from . import other\nfrom .other import N\n")
    write("u_pkg/other.py", "N = 1\n")
    assert resolve("u_pkg.sub:N") == 1


@pytest.mark.parametrize("name", ["dill", "u_optional"])
def test_a_library_does_not_find_files_in_the_working_folder(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the preset and user code do; dill is optional for torch, and installed nowhere here."""
    monkeypatch.delitem(sys.modules, name, raising=False)
    write(f"{name}.py", EVIL)
    write("u_own.py", "N = 1\n")
    assert resolve("u_own.py:N") == 1
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)
    assert not Path("evil").exists()


def test_an_installed_module_comes_first() -> None:
    write("json/__init__.py", EVIL)
    write("numpy.py", EVIL)
    write("u_own.py", "import json, numpy\nN = numpy.__file__\n")
    assert "site-packages" in str(resolve("u_own.py:N"))


def test_an_untrusted_module_is_missing_for_a_library() -> None:
    """User code has put its folder on sys.path, where a library looks for something optional."""
    write("u_own.py", "import sys\nsys.path.append('.')\nN = 1\n")
    write("u_optional.py", EVIL, trusted=False)
    resolve("u_own.py:N")
    with pytest.raises(ImportError, match="do not trust"):
        importlib.import_module("u_optional")


def test_a_zip_file_is_refused(folder: Path) -> None:
    with zipfile.ZipFile("u.zip", "w") as archive:
        archive.writestr("u_zipped.py", EVIL)
    write("u_own.py", "import sys\nsys.path.append('u.zip')\nimport u_zipped\n")
    with pytest.raises(TrustError, match=r"u\.zip: user code cannot be imported from a zip file; unpack it"):
        resolve("u_own.py:N")


@pytest.mark.parametrize("trusted", [True, False])
def test_compiled_code_passes_the_same_door(trusted: bool) -> None:
    library = Path(_bisect.__spec__.origin or "")
    if not library.is_file():
        pytest.skip("this Python has its extension modules built in")
    Path("u_pkg").mkdir()
    copy = Path(shutil.copy(library, "u_pkg")).absolute()
    write(
        "u_own.py",
        "from u_pkg import _bisect\nN = _bisect.bisect_right([1, 2, 3], 2)\nF = _bisect.__file__\n",
    )
    if trusted:
        trust(copy)
        assert resolve("u_own.py:N") == 2
        assert resolve("u_own.py:F") == str(copy)
    else:
        with pytest.raises(TrustError, match="_bisect"):
            resolve("u_own.py:N")


def test_the_source_that_is_shown_later_is_the_source_that_runs() -> None:
    own = write("u_own.py", "class Net:\n    first = 1\n")
    net = resolve("u_own.py:Net")
    own.write_text("class Net:\n    second = 2\n")
    assert "first" in inspect.getsource(net)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys\nsys.exit(3)", "it calls sys.exit(3) (u_own.py, line 2); put what a program does below"),
        ("raise SystemExit('no data')", "it calls sys.exit('no data') (u_own.py, line 1)"),
        (
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', required=True)\n"
            "p.parse_args()",
            "argparse.ArgumentParser exits: the following arguments are required: --lr (u_own.py, line 4)",
        ),
        ("raise KeyboardInterrupt", "it raises KeyboardInterrupt (u_own.py, line 1)"),
        ("import u_helper", "ZeroDivisionError: division by zero (u_helper.py, line 2)"),
        ("def :", "SyntaxError: invalid syntax (u_own.py, line 1)"),
        ("import not_there", "No module named 'not_there' (u_own.py, line 1)"),
        ("from . import x", "name it as package.module:Thing"),
        ("x = '\0'", "null bytes"),
    ],
)
def test_what_goes_wrong_in_an_import_is_one_message(code: str, message: str) -> None:
    own = write("u_own.py", code)
    write("u_helper.py", "\n1 / 0\n")
    with pytest.raises(ComponentError) as caught:
        resolve("u_own.py:Net")
    assert str(caught.value).startswith(f"model.name: cannot import {own}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_sees_its_file_as_the_only_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["worker", "--resume"])
    write("u_helper.py", "import sys\nARGUMENTS = list(sys.argv)\n")
    own = write("u_own.py", "import argparse\nimport u_helper\nargparse.ArgumentParser().parse_args()\n")
    own.write_text(own.read_text() + "ARGUMENTS = u_helper.ARGUMENTS\n")
    trust(own)
    assert resolve("u_own.py:ARGUMENTS") == [str(own)]
    assert sys.argv == ["worker", "--resume"]


CHILD = """
import pickle, sys
sys.argv = pickle.load(sys.stdin.buffer)
exec("import u_helper", {"__name__": "multiprocessing.queues"})
print(sys.argv, sys.modules["u_helper"].N)
"""


@pytest.mark.parametrize("trusted", [True, False])
def test_a_process_that_user_code_starts_checks_user_code_too(
    trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets sys.argv from its parent; joblib's processes do not import the main module."""
    monkeypatch.setattr(sys, "argv", ["worker", "--resume"])
    write("u_own.py", "import u_helper\nN = u_helper.N\n")
    write("u_helper.py", "N = 1\n")
    resolve("u_own.py:N")
    if not trusted:
        write("u_helper.py", EVIL, trusted=False)
    command = [sys.executable, "-P", "-c", CHILD]
    done = subprocess.run(command, input=pickle.dumps(sys.argv), capture_output=True, cwd="/", check=False)
    assert done.stdout.decode().strip() == ("['worker', '--resume'] 1" if trusted else "")
    assert trusted or b"you do not trust its present content" in done.stderr
    assert not Path("evil").exists()


def test_the_name_of_a_module_is_the_same_in_every_process() -> None:
    """What is pickled for another process names its module."""
    own = write("u_own.py", "class Net: pass\n")
    name = user_modules.import_file(own, []).__name__
    assert name.startswith("torchconsole_user_code_u_own_")
    assert user_modules.import_file(own, []).__name__ == name
    found: Callable[..., object] = importlib.util.find_spec
    assert found(name) is not None


def test_a_compiler_loads_what_it_has_compiled_but_nothing_by_name() -> None:
    """As torch.compile does, from a folder of its own in /tmp."""
    write("u_own.py", "N = 1\n")
    resolve("u_own.py:N")
    write("u_kernel.py", "made = 1\n", trusted=False)
    code = (
        "import importlib.util as u\nspec = u.spec_from_file_location('u_kernel', 'u_kernel.py')\n"
        "module = u.module_from_spec(spec)\nspec.loader.exec_module(module)"
    )
    compiler: dict[str, Any] = {"__name__": "torch._inductor.codecache"}
    exec(code, compiler)
    assert compiler["module"].made == 1
    sys.path.insert(0, "")
    with pytest.raises(ImportError, match="do not trust"):
        exec("import u_kernel", compiler)
    with pytest.raises(ImportError, match="do not trust"):
        exec(code, {"__name__": "torch.hub"})


def test_torch_imports_what_it_has_written_to_a_folder_of_its_own(folder: Path) -> None:
    """As torch 2.8 does when torchvision is imported: by name, from a private folder in /tmp."""
    write("u_own.py", "N = 1\n")
    resolve("u_own.py:N")
    write("u_written.py", "made = 1\n", trusted=False)
    write("u_other.py", EVIL, trusted=False)
    (folder / "private").mkdir()
    Path("u_written.py").rename(folder / "private" / "u_written.py")
    sys.path += [str(folder / "private"), str(folder)]
    torch: dict[str, Any] = {"__name__": "torch.distributed.nn.jit.instantiator"}
    torch["INSTANTIATED_TEMPLATE_DIR_PATH"] = str(folder / "private")
    exec("import importlib\nmodule = importlib.import_module('u_written')", torch)
    assert torch["module"].made == 1
    with pytest.raises(ImportError, match="do not trust"):
        exec("importlib.import_module('u_other')", torch)
    assert not Path("evil").exists()


@pytest.mark.parametrize("code", ["sys.exit('no data')", "argparse.ArgumentParser().parse_args(['--lr'])"])
def test_a_constructor_that_ends_the_program_is_one_message(code: str) -> None:
    own = write("u_own.py", f"import argparse, sys\ndef make():\n    {code}\n")
    with pytest.raises(ComponentError, match=r"^model: make ends the program: it.*(no data|--lr)"):
        call("model", resolve(f"{own}:make"), {}, {})


def test_a_constructor_sees_its_file_as_the_only_argument() -> None:
    own = write("u_own.py", "import sys\ndef make():\n    return list(sys.argv)\n")
    assert call("model", resolve(f"{own}:make"), {}, {}) == [str(own)]


def test_a_constructor_that_imports_an_untrusted_file_says_so_first() -> None:
    own = write("u_own.py", "import importlib\ndef make(x):\n    importlib.import_module('u' + '_x')\n")
    write("u_x.py", EVIL, trusted=False)
    with pytest.raises(TrustError, match=r"^/.*u_x\.py is imported, but you do not trust"):
        call("model", resolve(f"{own}:make"), {}, {"x": 1})


@pytest.mark.parametrize("evil", [False, True])
def test_a_run_imports_a_file_as_it_was_at_the_start(folder: Path, evil: bool) -> None:
    """Whoever edits a file during a run does not end it; whoever swaps it before it starts does nothing."""
    own = write("u_own.py", "def make():\n    import u_later\n    return u_later.N\n")
    later = write("u_later.py", "N = 1\n")
    if evil:
        later.write_text(EVIL)
    preset = load_preset("digits-mlp", [f"model.name={own}:make"])
    make: Any = UserCode.of(preset).resolve("model", preset.model.name)
    later.write_text("N = 2\n")
    if evil:
        with pytest.raises(TrustError, match="u_later"):
            make()
    else:
        assert make() == 1
