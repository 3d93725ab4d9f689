"""Tones: what they look like in each theme and in as many colors as a terminal has."""

from __future__ import annotations

import itertools

import pytest
from rich.color import Color as RichColor
from rich.color import ColorSystem
from rich.style import Style
from textual.color import Color
from textual.theme import BUILTIN_THEMES

from torchconsole.tui.derived_palette import LEAST_CONTRAST, contrast, derived_colors, distance
from torchconsole.tui.palette import COMPARED, DARK, LIGHT, indexed_hex
from torchconsole.tui.theme import Depth, Look, own_look

MEANINGS = ("train", "val", "steer", "good", "attn", "bad")
TEXTUAL_THEMES = [theme for theme in BUILTIN_THEMES.values() if not theme.ansi]


def style(tone: str, depth: Depth, dark: bool | None = True) -> str:
    return str(own_look(dark, depth).style(tone))


def test_a_tone_in_truecolor() -> None:
    assert style("train", "truecolor") == "#5fb8ec"
    assert style("bold val on band", "truecolor") == "bold #f2a020 on #182b38"
    assert style("bold ink on good", "truecolor", dark=False) == "bold #ffffff on #00805c"


@pytest.mark.parametrize(
    "shade", sorted({*DARK.values(), *LIGHT.values()}, key=repr), ids=lambda shade: shade.hex
)
def test_256_colors_are_the_ones_that_were_chosen_not_the_nearest_ones_of_rich(shade: object) -> None:
    assert isinstance(shade, type(DARK["bg"]))
    reduced = RichColor.parse(indexed_hex(shade.index)).downgrade(ColorSystem.EIGHT_BIT)
    assert reduced.number == shade.index


def test_16_colors_leave_the_background_to_the_terminal() -> None:
    assert style("train on band", "16") == "color(14)"
    assert style("text on surface", "16") == "default"
    assert style("bold text on select", "16") == "bold reverse"
    assert style("bold ink on good", "16") == "bold color(0) on color(10)"
    assert style("bold ink on good", "16", dark=False) == "bold color(15) on color(2)"


@pytest.mark.parametrize("dark", [True, False])
def test_16_colors_draw_no_navy_and_validation_in_no_red(dark: bool) -> None:
    colors = own_look(dark, "16").colors
    assert "ansi_blue" not in colors.values() or not dark
    assert "red" not in colors["val"]


def test_without_color_only_bold_dim_and_reverse_remain() -> None:
    assert style("muted", "none") == "dim"
    assert style("bold strong", "none") == "bold"
    assert style("val", "none") == "none"
    assert style("train on band", "none") == "none"
    assert style("text on select", "none") == "reverse"
    assert style("bold ink on bad", "none") == "bold reverse"
    assert all(one.color is None and one.bgcolor is None for one in all_styles(own_look(True, "none")))


def test_16_colors_on_an_unknown_background_are_readable_on_both() -> None:
    assert style("bold strong", "16", None) == "bold default"
    assert style("muted", "16", None) == "dim default"
    assert style("train on band", "16", None) == "color(6)"
    assert style("bold ink on good", "16", None) == "bold reverse color(2)"
    assert style("bold ink on attn", "16", None) == "bold reverse default"
    assert style("text on select", "16", None) == "reverse"
    look = own_look(None, "16")
    names = {"default", *(f"color({number})" for number in (1, 2, 5, 6))}  # neither navy nor yellow
    for one in (look.style(name) for name in look.colors if name != "select"):
        assert one.color is not None
        assert one.color.name in names
    assert not any(one.bgcolor for one in all_styles(look))


def all_styles(look: Look) -> list[Style]:
    return [look.style(tone) for name in look.colors for tone in (name, f"bold {name}", f"{name} on {name}")]


@pytest.mark.parametrize("tone", ["plain", "train on nowhere", "bold", "", "nothing on band"])
@pytest.mark.parametrize("depth", ["truecolor", "16", "none"])
def test_an_unknown_tone_is_an_error(tone: str, depth: Depth) -> None:
    with pytest.raises(KeyError):
        own_look(True, depth).style(tone)


def test_the_style_sheet_has_a_variable_for_each_tone() -> None:
    variables = own_look(True, "truecolor").variables()
    assert {f"tone-{name}" for name in DARK} <= set(variables)
    assert variables["shade"] == "#111315 60%"
    assert own_look(True, "16").variables()["shade"] == "transparent"


def test_both_palettes_have_the_same_names() -> None:
    assert list(DARK) == list(LIGHT)
    assert set(COMPARED) <= set(DARK)


@pytest.mark.parametrize("palette", [DARK, LIGHT], ids=["dark", "light"])
def test_our_colors_can_be_read(palette: dict[str, object]) -> None:
    colors = {name: Color.parse(shade.hex) for name, shade in palette.items()}  # type: ignore[attr-defined]
    assert all(contrast(colors[name], colors["bg"]) >= 3.9 for name in (*MEANINGS, "text", "muted"))


@pytest.mark.parametrize("theme", TEXTUAL_THEMES, ids=lambda theme: theme.name)
def test_colors_derived_from_a_theme_of_textual_can_be_read_and_told_apart(theme: object) -> None:
    assert isinstance(theme, type(TEXTUAL_THEMES[0]))
    derived = derived_colors(theme)
    assert list(derived) == list(DARK)
    colors = {name: Color.parse(value) for name, value in derived.items()}
    for name in (*MEANINGS, "text", "strong"):
        assert contrast(colors[name], colors["bg"]) >= LEAST_CONTRAST - 0.05, name
    assert min(distance(colors[a], colors[b]) for a, b in itertools.combinations(MEANINGS, 2)) >= 18
