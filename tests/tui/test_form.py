"""The form: its text, and how it handles input. UPDATE_GOLDENS=1 accepts the text that it shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import MouseScrollDown

from tests.support.forms import PRESET, SIZES, editing, form_folder
from tests.support.pilot import press_at_once, shows, until
from tests.support.watching import check_golden
from torchconsole.engine.client import processes
from torchconsole.engine.config import preset_files
from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.reports import CheckReport, Finding
from torchconsole.tui import launch
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.keys import FORM
from torchconsole.tui.screens import form, form_content
from torchconsole.tui.screens.menu import MenuScreen
from torchconsole.tui.widgets.form_bar import FormBar
from torchconsole.tui.widgets.form_fields import SettingRow
from torchconsole.tui.widgets.pick_list import PickList
from torchconsole.tui.widgets.setting_rows import SettingRows


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the form."""
    return form_folder(tmp_path, monkeypatch)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """The name and the overrides of each preset that the app tries to start; it starts none."""
    requested: list[tuple[str, list[str]]] = []

    def load(preset: object, overrides: list[str]) -> None:
        requested.append((preset.name, overrides))  # type: ignore[attr-defined]
        raise RunError("not in this test")

    monkeypatch.setattr(launch, "load", load)
    return requested


@pytest.mark.parametrize("size", SIZES)
async def test_the_form_matches_its_golden_file(folder: Path, size: tuple[int, int]) -> None:
    async with editing(folder, size) as console:
        await console.go_to("optimizer.lr")
        await console.type("0.05")
        await console.go_to("training.epochs")
        await console.type("0")
        await console.shows("1 error", "at least 1")
        if size[1] >= form.HIGH:
            await console.shows("fix the errors to see the lr")
        await console.shows("! training")  # the field that has the focus stays in view
        check_golden(f"form-{size[0]}x{size[1]}", console.text)


@pytest.mark.parametrize("size", SIZES)
async def test_the_list_of_keys_matches_its_golden_file(folder: Path, size: tuple[int, int]) -> None:
    async with editing(folder, size) as console:
        if size[1] >= form.HIGH:
            await console.shows("0.1 → 0.00625")
        await console.press("f3", *"mome")
        await console.shows(" 6 of ")
        check_golden(f"form-keys-{size[0]}x{size[1]}", console.text)


async def test_input_is_checked_with_the_same_messages_as_a_preset_file(folder: Path) -> None:
    async with editing(folder, size=(160, 40)) as console:
        await console.go_to("training.epochs")
        await console.type("many")
        await console.shows("1 error", "training.epochs: must be a valid integer, got 'many'")
        (row,) = (line for line in console.text.splitlines() if " epochs " in line)
        assert "! " in row
        assert "must be a valid integer" in row  # beside its field
        await console.type("12")
        await console.shows("* training   epochs", "was 10", "no errors", "modified: 1 setting")


async def test_one_field_or_all_fields_can_be_reset(folder: Path) -> None:
    async with editing(folder) as console:
        await console.go_to("training.epochs")
        await console.type("5")
        await console.press("down")
        await console.type("8")
        await console.shows("modified: 2 settings")
        await console.press("f9")
        await console.shows("modified: 1 setting", "64")
        await console.go_to("schedule.0.interval")
        await console.press("e")
        await console.shows("* ", "0.interval", "epoch", "modified: 2 settings")
        await console.press("f12")
        await console.lacks("modified", "0.interval")


async def test_any_key_can_be_set_and_similar_keys_are_found(folder: Path, started: list[object]) -> None:
    async with editing(folder) as console:
        await console.press("f3", *"nestrov")
        await console.shows("optimizer.nesterov", "argument of SGD")
        await console.press("enter")
        await console.type("true")
        await console.shows("nesterov", "was not set")
        await console.press("f3", *"training.epochs=7", "enter")
        await console.shows("modified: 2 settings", "was 10")
        await console.press("f6")
        await console.shows("not started")
        assert started == [("small", ["optimizer.nesterov=true", "training.epochs=7"])]


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("optimizer.momentun=0.8", "SGD takes no argument 'momentun', did you mean 'momentum'?"),
        ("trainign.epochs=1", "trainign: unknown key, did you mean 'training'?"),
        ("training.epochs.more=1", "is a value, not a section"),
        ("schedule.7.name=StepLR", "must be a number from 0 to 0"),
        ("optimizer=1", "is a section; choose one of the keys in it"),
    ],
)
async def test_an_unknown_key_is_never_accepted(folder: Path, typed: str, problem: str) -> None:
    async with editing(folder, size=(160, 40)) as console:
        await console.press("f3", *typed, "enter")
        await console.shows(problem)
        await console.press("escape")
        await console.lacks(typed.partition("=")[0] + "=", "modified")


async def test_values_are_chosen_from_a_list_or_by_their_first_letter(folder: Path) -> None:
    async with editing(folder) as console:
        await console.go_to("training.precision")
        await console.press("b")
        await console.shows("bf16", "was auto")
        await console.press("right", "enter")
        await console.shows("tf32", "type to search")
        await console.press(*"tf3", "enter")
        await console.lacks("type to search")
        await console.go_to("optimizer.name")
        await console.press("f4", "up", "enter")
        await console.lacks("type to search")
        await console.shows("AdamW", "was SGD")


async def test_a_component_that_replaces_another_loses_what_it_does_not_take(
    folder: Path, started: list[object]
) -> None:
    async with editing(folder) as console:
        await console.go_to("optimizer.name")
        await console.type("AdamW")
        await console.lacks("momentum")
        await console.shows("no errors")
        await console.press("f6")
        await console.shows("not started")
        assert started == [("small", ["optimizer.name=AdamW", "optimizer.momentum="])]
        await console.type("SGD")
        await console.shows("momentum", "0.9")


async def test_arguments_that_a_chosen_component_requires_become_fields(
    folder: Path, started: list[object]
) -> None:
    (folder / "shipped" / "small.toml").write_text(PRESET.partition("[[schedule]]")[0])
    async with editing(folder) as console:
        await console.go_to("schedule.0.name")
        await console.shows("constant lr")
        await console.type("StepLR")
        await console.shows("! ", "0.step_size", "StepLR requires this argument")
        await console.go_to("schedule.0.step_size")
        await console.type("5")
        await console.shows("no errors")
        await console.press("f6")
        await console.shows("not started")
        assert started == [("small", ["schedule=[{}]", "schedule.0.name=StepLR", "schedule.0.step_size=5"])]


async def test_typing_a_patience_turns_early_stopping_on(folder: Path, started: list[object]) -> None:
    async with editing(folder) as console:
        await console.press("up")
        await console.type("4")
        await console.shows("patience", "was not set", "no errors")
        await console.press("f6")
        await console.shows("not started")
        assert started == [("small", ["early_stopping.patience=4"])]


REPORT = CheckReport(
    device="cpu",
    task="multiclass",
    input_shape=[1, 8, 8],
    output_shape=[10],
    train_samples=1437,
    val_samples=360,
    batch_size=64,
    steps_per_epoch=23,
    params=17226,
    trainable=17226,
    memory=2**20,
    loss=2.5,
    step_seconds=0.002,
    batch_seconds=0.001,
    seconds={},
)
WRONG = Finding(level="error", name="twice", evidence="rows sum to 1", reason="why", remedy="remove it")


async def test_after_a_check_with_errors_the_run_is_started_anyway(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Finding] = []
    starts: list[bool] = []

    async def check(preset: object) -> CheckReport:
        return REPORT.model_copy(update={"findings": list(found)})

    def start(preset: object, name: str, runs_dir: object, anyway: bool) -> None:
        starts.append(anyway)
        raise RunError("not in this test")

    monkeypatch.setattr(launch, "check", check)
    monkeypatch.setattr(launch, "load", lambda preset, overrides: (object(), []))
    monkeypatch.setattr(launch, "start", start)
    async with editing(folder) as console:
        await console.press("f5")
        await console.shows("no problem found", "1,437 training samples, 17,226 parameters", "2 ms a step")
        found.append(WRONG)
        await console.go_to("training.epochs")
        await console.press("f5")
        await console.shows("error: twice: rows sum to 1; why; to fix it: remove it", "start anyway")
        await console.type("7")
        await console.lacks("start anyway", "twice")
        await console.type("10")
        await console.shows("start anyway")
        await console.press("ctrl+t")
        await console.shows("not in this test")
        assert starts == [True]


async def test_the_error_of_a_check_is_shown_and_cannot_be_overruled(
    folder: Path, started: list[tuple[str, list[str]]]
) -> None:
    async with editing(folder) as console:
        await console.press("f5")
        await console.shows("errors in the dry run", "error: not in this test")
        await console.lacks("start anyway")


async def test_a_saved_copy_keeps_the_comments(folder: Path) -> None:
    async with editing(folder) as console:
        await console.go_to("training.epochs")
        await console.type("7")
        await console.press("f8")
        await console.press(*"mine", "enter")
        await console.shows("─ mine ─", "saved in")
        saved = folder / "config" / "torchconsole" / "presets" / "mine.toml"
        assert saved.read_text() == f"{PRESET}\n[training]\nepochs = 7\n"
        await console.lacks("modified")
        await console.press("escape")
        await console.shows("presets", "mine", "small")


async def test_a_preset_can_be_saved_as_the_differences_only(folder: Path) -> None:
    async with editing(folder) as console:
        await console.go_to("training.epochs")
        await console.type("7")
        await console.press("ctrl+s", *"mine", "ctrl+e")
        await console.shows("─ mine ─")
        saved = folder / "config" / "torchconsole" / "presets" / "mine.toml"
        assert saved.read_text() == 'extends = "small"\n\n[training]\nepochs = 7\n'
        assert load_preset("mine").training.epochs == 7


async def test_a_title_is_asked_for_with_the_name(folder: Path) -> None:
    async with editing(folder) as console:
        await console.press("f8", *"mine", "tab")
        await console.type("")
        await console.press("enter")
        await console.shows("type a title")
        await console.press(*"Mine!", "enter")
        await console.shows("─ mine ─")
        assert load_preset("mine").title == "Mine!"


async def test_a_name_is_checked_while_it_is_typed(folder: Path) -> None:
    async with editing(folder) as console:
        await console.press("ctrl+s", *"../x")
        await console.shows("a preset's name may contain letters")
        await console.press("enter")
        await console.shows("Save as a preset")
        await console.type("small")
        await console.shows("small is a built-in preset")
    assert not (folder / "config").exists()


async def test_overwriting_a_preset_needs_confirmation(folder: Path) -> None:
    own = preset_files.user_folder() / "zz.toml"
    own.parent.mkdir(parents=True)
    own.write_text('title = "Mine"\n')
    async with editing(folder) as console:
        await console.press("ctrl+s", *"zz", "enter")
        await console.shows("Save as zz?", "you already have a preset called zz")
        await console.press("escape")
        await console.lacks("Save as zz?")
        assert own.read_text() == 'title = "Mine"\n'
        await console.press("enter")
        await console.shows("Save as zz?")
        await console.press("y")
        await console.shows("─ zz ─")
        assert own.read_text() == PRESET


async def test_discarding_changes_needs_confirmation(folder: Path) -> None:
    async with editing(folder) as console:
        await console.go_to("training.epochs")
        await console.press("5", "escape")
        await console.shows("Discard the changes to small?")
        await console.press("escape")
        await console.shows("modified")
        await console.press("escape", "y")
        await until(console.app, console.pilot, lambda: isinstance(console.app.screen, MenuScreen))


async def test_keys_that_arrive_together_reach_their_fields(folder: Path) -> None:
    async with editing(folder) as console:
        await console.go_to("training.epochs")
        press_at_once(console.app, "5", "enter", "1", "up", "up", "9")
        await console.shows("modified: 3 settings")
        rows = {row.key: row.input.value for row in console.app.screen.query(SettingRow)}
        assert (rows["training.epochs"], rows["data.batch_size"], rows["loss.name"]) == (
            "105",
            "641",
            "auto9",
        )


async def test_a_broken_preset_gives_an_error_instead_of_a_form(folder: Path) -> None:
    app = ConsoleApp(runs_dir=folder / "runs")
    async with app.run_test(notifications=True) as pilot:
        await shows(app, pilot, "Small digits", "none yet")
        (folder / "shipped" / "small.toml").write_text("title = ")
        await pilot.press("e")
        await shows(app, pilot, "cannot edit the preset", "is not valid TOML")


async def test_without_a_catalogue_the_form_shows_what_is_not_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Catalogue:
        raise RunError("torch cannot be imported: no torch")

    monkeypatch.setattr(form_content, "load_catalogue", broken)
    async with editing(folder) as console:
        await console.shows("names and arguments are not checked: torch cannot be imported")


async def test_the_help_lists_every_action(folder: Path) -> None:
    async with editing(folder) as console:
        await console.press("f1")
        await console.shows(*(action.help for action in FORM.actions))


@pytest.mark.parametrize("key", ["f10", "ctrl+g"])
async def test_the_mouse_is_switched_off_and_on_while_typing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    used: list[bool] = []
    monkeypatch.setattr(ConsoleApp, "set_mouse", lambda self, is_used: used.append(is_used))
    async with editing(folder, size=(200, 60)) as console:
        await console.shows("f10 mouse")
        await console.press(key)
        await console.shows("mouse off: the terminal selects text; f10 switches it on")
        await console.press(key)
        await console.shows("mouse on")
        assert used == [False, True]


async def test_ctrl_y_copies_the_field_as_an_argument_of_set(folder: Path) -> None:
    async with editing(folder) as console:
        await console.go_to("optimizer.lr")
        await console.type("0.25")
        await console.press("Y", "backspace", "ctrl+y")
        await console.shows("copied: optimizer.lr=0.25")


async def test_the_mouse_goes_to_fields_and_chooses_values(folder: Path) -> None:
    async with editing(folder, (120, 40)) as console:
        await console.shows("dropout", "gamma")  # the rows that come with the catalogue
        rows = console.app.screen.query_one(SettingRows).rows
        pilot = console.pilot
        parts = {"optimizer.lr": "FieldInput", "model.name": "RowName", "loss.name": "RowRemark"}
        for key, part in parts.items():
            await pilot.click(rows[key].query_one(part), offset=(5, 0))
            await until(console.app, pilot, lambda key=key: console.focused_key == key)
        await console.go_to("training.precision")
        row = console.app.screen.query_one(SettingRows).rows["training.precision"]
        await pilot.click(row.query_one("RowRemark"), offset=(0, 0))
        await console.shows("type to search", "bf16")
        listed = console.app.screen.query_one(PickList)
        await pilot.click(PickList, offset=(5, 1 + listed.values.index("bf16")), times=2)
        await console.lacks("type to search")
        assert row.input.value == "bf16"
        await pilot.click(row.input, times=2)
        await console.shows("type to search")
        await console.press("escape")
        await console.lacks("type to search")
        await pilot.click(FormBar, offset=(console.text.splitlines()[-1].index("f3"), 0))
        await console.shows("search all keys")


async def test_the_wheel_scrolls_the_fields(folder: Path) -> None:
    async with editing(folder, (80, 24)) as console:
        rows = console.app.screen.query_one(SettingRows)
        assert rows.max_scroll_y > 0
        rows.post_message(MouseScrollDown(rows, 5, 5, 0, 1, 0, False, False, False))
        await until(console.app, console.pilot, lambda: rows.scroll_offset.y > 0)


async def test_new_rows_do_not_undo_what_the_wheel_has_scrolled(folder: Path) -> None:
    async with editing(folder, (80, 24)) as console:
        await console.shows("0.1 → 0.00625")  # the plot of the lr has taken its rows
        rows = console.app.screen.query_one(SettingRows)
        rows.post_message(MouseScrollDown(rows, 5, 5, 0, 1, 0, False, False, False))
        await until(console.app, console.pilot, lambda: rows.scroll_offset.y > 0)
        scrolled = rows.scroll_offset.y
        await rows.show(["training.precision"])
        rows.on_resize()
        await console.pilot.pause()
        assert rows.scroll_offset.y == scrolled
        await console.press("x")  # typing leads back to the field that has the focus
        await until(console.app, console.pilot, lambda: rows.scroll_offset.y == 0)


async def test_two_escapes_at_once_lead_back_to_the_menu(folder: Path) -> None:
    async with editing(folder) as console:
        press_at_once(console.app, "escape", "escape")
        await console.shows("Small digits", "none yet")
        await console.pilot.pause()
        assert isinstance(console.app.screen, MenuScreen)


async def test_the_keys_of_data_that_the_user_must_name_are_fields(folder: Path) -> None:
    table = '[data]\nname = "CSV"\nroot = "data.csv"\ntarget = "price"\n'
    (folder / "shipped" / "small.toml").write_text(PRESET.replace('[data]\nname = "digits"\n', table))
    async with editing(folder, size=(100, 24)) as console:
        await console.shows("root", "data.csv", "target", "price")
        await console.shows("there is no file data.csv")
        (folder / "houses.csv").write_text("rooms,rent\n3,900\n")
        await console.type("houses.csv")
        await console.shows("the table has no column price; it has rooms, rent")
        await console.press("down", "f4", *"rent", "enter")
        await console.lacks("the table has no")
        await console.shows("houses.csv", "rent", "was price")


async def test_more_processes_than_the_machine_has_room_for_are_warned_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(processes, "_require_memory", lambda count: None)
    async with editing(folder, size=(160, 40)) as console:
        await console.go_to("distributed.processes")
        await console.press("enter")
        await console.shows("1", "2", "4", "8", "auto")
        await console.press("down", "enter")
        await console.lacks("type to search")
        await console.type("3")
        await console.shows("1 warning", "3 processes, but this machine has 2 GPUs")
        await console.type("2")
        await console.lacks("1 warning")
