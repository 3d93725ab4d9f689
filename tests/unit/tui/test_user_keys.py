"""`[keys]` of config.toml: which keys can be written, and what is wrong with others."""

from __future__ import annotations

import pytest

from torchconsole.tui.keys import SECTIONS, actions_of
from torchconsole.tui.user_keys import parse_key, read_user_keys, shown


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("p", "p"),
        ("P", "P"),
        ("+", "plus"),
        (",", "comma"),
        ("alt++", "alt+plus"),
        ("ctrl+]", "ctrl+right_square_bracket"),
        ("shift+tab", "shift+tab"),
        ("ctrl+ctrl+p", "ctrl+p"),
        ("?", "question_mark"),
        (" ", "space"),
        ("Space", "space"),
        ("esc", "escape"),
        ("Del", "delete"),
        ("F5", "f5"),
        ("ctrl+p", "ctrl+p"),
        ("shift+left", "shift+left"),
        ("shift+ctrl+left", "ctrl+shift+left"),
        ("é", "é"),
    ],
)
def test_keys_are_written_as_they_are_typed_or_by_name(text: str, key: str) -> None:
    assert parse_key(text) == key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spcae", "'spcae' is no key, did you mean 'space'?"),
        ("meta+p", "'meta+p': unknown modifier 'meta'; use ctrl, shift or alt"),
        ("shift+p", "'shift+p': write the character that shift gives, for example 'P'"),
        ("ctrl+i", "'ctrl+i': terminals send it as tab; choose another key"),
        ("ctrl+m", "'ctrl+m': terminals send it as enter"),
        ("ctrl+[", "'ctrl+[': terminals send it as esc"),
        ("ctrl+h", "'ctrl+h': terminals send it as backspace"),
        ("ctrl+P", "'ctrl+P': terminals send it as ctrl+p"),
        ("ctrl+shift+m", "'ctrl+shift+m': terminals send it as ctrl+m"),
        ("ctrl+1", "'ctrl+1': terminals do not send it"),
        ("ctrl++", "'ctrl++': terminals do not send it"),
        ("ctrl+é", "'ctrl+é': terminals do not send it"),
        ("shift+enter", "'shift+enter': terminals do not send it"),
        ("ctrl+space", "'ctrl+space': terminals do not send it"),
        ("ctrl+tab", "'ctrl+tab': terminals do not send it"),
        ("", "'' is no key"),
        ("\x01", "is no key"),
    ],
)
def test_what_is_no_key_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"is no key|unknown modifier|write the|terminals") as error:
        parse_key(text)
    assert message in str(error.value)


def test_every_key_of_the_table_can_be_written_as_it_is_shown() -> None:
    for action in actions_of(*SECTIONS):
        for key in action.keys:
            assert parse_key(shown(key)) == key
            assert shown(key).isprintable()


def test_one_key_or_several() -> None:
    assert read_user_keys({"pause": "b", "save": ["f20", "f21"]}) == (
        {"pause": ("b",), "save": ("f20", "f21")},
        [],
    )


def test_keys_can_change_places() -> None:
    keys, problems = read_user_keys({"save": "e", "evaluate": "s"})
    assert keys == {"save": ("e",), "evaluate": ("s",)}
    assert problems == []


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"puase": "p"}, "keys.puase: unknown action, did you mean 'pause'?"),
        ({"leave_anywhere": "p"}, "keys.leave_anywhere: unknown action"),
        ({"pause": 1}, 'keys.pause: must be a key or a list of keys, for example "p" or ["p", "f5"]'),
        ({"pause": []}, "keys.pause: must be a key"),
        ({"pause": ["p", 2]}, "keys.pause: must be a key"),
        ({"pause": ""}, "keys.pause: must be a key"),
        ({"pause": "prefix"}, "keys.pause: 'prefix' is no key"),
        ({"pause": "s"}, "keys.pause: 's' is a key of save on the screen of a run; choose another"),
        ({"pause": "ctrl+c"}, "keys.pause: 'ctrl+c' is a key of leave_anywhere on the screen of a run"),
        ({"list_down": "q"}, "keys.list_down: 'q' is a key of leave on"),
        ({"form_check": "tab"}, "keys.form_check: 'tab' is a key of form_next_field on the form"),
    ],
)
def test_an_action_whose_keys_are_wrong_keeps_its_own(section: dict[str, object], problem: str) -> None:
    keys, problems = read_user_keys({**section, "hold": "b"})
    assert keys == {"hold": ("b",)}
    assert len(problems) == 1
    assert problem in problems[0]


def test_of_two_actions_with_the_same_new_key_one_keeps_it() -> None:
    keys, problems = read_user_keys({"pause": "b", "save": "b"})
    assert len(keys) == 1
    assert problems == ["keys.save: 'b' is a key of pause on the screen of a run; choose another"]


def test_a_key_may_mean_something_else_on_another_screen() -> None:
    assert read_user_keys({"edit": "x", "form_check": "f20", "pause": "f20"})[1] == []


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"compare_log": "j"}, "keys.compare_log: 'j' is a key of list_down on compared runs"),
        ({"list_last": "m"}, "keys.list_last: 'm' is a key of choose_metrics on the screen of a run"),
        ({"view": "w"}, "keys.view: 'w' is a key of smoothing on the screen of a run"),
        ({"follow": "pagedown"}, "keys.follow: 'pagedown' is a key of list_page_down on the screen of a run"),
        ({"column_left": "y"}, "keys.column_left: 'y' is a key of log_axis on the screen of a run"),
        ({"list_down": "z", "compare_all": "z"}, "keys.list_down: 'z' is a key of compare_all on compared"),
    ],
)
def test_keys_that_can_be_active_together_must_differ(section: dict[str, object], problem: str) -> None:
    problems = read_user_keys(section)[1]
    assert len(problems) == 1
    assert problem in problems[0]


def test_lists_and_charts_may_share_the_keys_that_move_in_them() -> None:
    assert read_user_keys({"chart_down": "j", "chart_up": ["k", "up"], "column_left": "alt+left"})[1] == []


@pytest.mark.parametrize("name", ["form_check", "next", "settings", "clear_search", "palette"])
@pytest.mark.parametrize("key", ["x", "?", "space", "delete", "left"])
def test_keys_that_work_while_typing_leave_the_text_alone(name: str, key: str) -> None:
    keys, problems = read_user_keys({name: key})
    assert keys == {}
    assert f"keys.{name}: " in problems[0]
    assert "is needed to type text; choose a key like f9 or one with ctrl" in problems[0]
