"""Finding the traceback in what a worker printed."""

from __future__ import annotations

from torchconsole.tui.traceback_lines import find_traceback

PLAIN = """\
loading
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/venv/lib/python3.11/site-packages/torchconsole/engine/worker/main.py", line 91, in main
    status = training.run()
             ^^^^^^^^^^^^^^
  File "/home/me/net.py", line 14, in forward
    return helper(x, self.table)
                     ^^^^^^^^^^
  File "/venv/lib/python3.11/site-packages/torch/nn/modules/module.py", line 1967, in __getattr__
    raise AttributeError(
AttributeError: 'Net' object has no attribute 'table'
"""

CHAINED = """\
Traceback (most recent call last):
  File "/home/me/net.py", line 3, in load
    return table[key]
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/usr/lib/python3/dist-packages/numpy/core.py", line 9, in check
    raise ValueError(text)
ValueError: two lines
of text
"""


def test_the_last_frame_of_the_users_own_files_is_found() -> None:
    found = find_traceback(PLAIN.splitlines())
    assert found is not None
    assert found.frame is not None
    assert found.exception == "AttributeError: 'Net' object has no attribute 'table'"
    assert (found.frame.file, found.frame.line, found.frame.function) == ("/home/me/net.py", 14, "forward")
    assert found.frame.code == "return helper(x, self.table)"
    assert found.start == 1
    assert len(found.lines) == 12 - 1


def test_exceptions_that_caused_the_last_one_belong_to_it() -> None:
    found = find_traceback(CHAINED.splitlines())
    assert found is not None
    assert found.frame is not None
    assert (found.start, found.exception) == (0, "ValueError: two lines")
    assert found.lines[-1] == "of text"
    assert found.frame.file == "/home/me/net.py"


def test_a_traceback_that_was_handled_before_is_not_part_of_the_last_one() -> None:
    found = find_traceback([*PLAIN.splitlines(), "step 3", *CHAINED.splitlines()[:4], "KeyError: 'b'"])
    assert found is not None
    assert found.exception == "KeyError: 'a'"
    assert len(found.lines) == 5


def test_cut_and_foreign_lines_raise_nothing() -> None:
    assert find_traceback([]) is None
    assert find_traceback(["Traceback: none", "x"]) is None
    for count in range(1, 12):
        find_traceback(PLAIN.splitlines()[: 1 + count])
