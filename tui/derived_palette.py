"""Colors for Textual's own themes: the theme's where they can be told apart and read, ours elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from textual.color import Color, rgb_to_lab
from textual.theme import Theme

from torchconsole.tui.palette import DARK, LIGHT

LEAST_CONTRAST = 3.0
LEAST_DISTANCE = 25.0
"""Between two colors with different meanings: the distance in CIELAB (CIE 1976)."""

_GREYS = {
    "grid": 0.12, "rule": 0.22, "meterdim": 0.15, "meterhist": 0.28, "faint": 0.48, "muted": 0.65,
}  # fmt: skip
"""Name -> its place between the background (0) and the text (1)."""

_TINTS = {
    "band": ("train", 0.22), "gridband": ("train", 0.32), "banddot": ("train", 0.45),
    "valdim": ("val", 0.45), "steerdim": ("steer", 0.4), "gooddim": ("good", 0.35),
    "err1": ("val", 0.2), "err2": ("val", 0.4), "err3": ("val", 0.7), "err4": ("val", 1.0),
    "heat1": ("train", 0.2), "heat2": ("train", 0.4), "heat3": ("train", 0.65), "heat4": ("train", 1.0),
}  # fmt: skip
"""Name -> the color that is blended with the background, and its share."""


def derived_colors(theme: Theme) -> dict[str, str]:
    """Return all colors of `tui/palette.py` for a theme of Textual, as hex."""
    own = {name: Color.parse(shade.hex) for name, shade in (DARK if theme.dark else LIGHT).items()}
    given = theme.to_color_system().generate()
    background, foreground = Color.parse(given["background"]), Color.parse(given["foreground"])
    surface, panel = Color.parse(given["surface"]), Color.parse(given["panel"])
    extreme = Color.parse("#ffffff" if theme.dark else "#000000")
    colors = own | {
        "bg": background,
        "text": foreground,
        "strong": foreground.blend(extreme, 0.5),
        "surface": surface,
        "raised": background.blend(panel, panel.a, alpha=1.0),
        "future": background.blend(Color.parse("#000000"), 0.2 if theme.dark else 0.03),
        "ink": background,
        "heat0": background,
        "err0": background,
    }
    colors |= {name: background.blend(foreground, share) for name, share in _GREYS.items()}
    colors |= _meanings(given, own, background, foreground)
    colors["select"] = background.blend(colors["train"].blend(foreground, 0.6), 0.2)
    colors["meter"] = colors["muted"].blend(colors["train"], 0.4)
    colors |= {name: background.blend(colors[base], share) for name, (base, share) in _TINTS.items()}
    colors |= {
        f"heat{n}": colors["train"].blend(colors["strong"], share) for n, share in ((5, 0.5), (6, 0.9))
    }
    return {name: color.with_alpha(1.0).hex for name, color in colors.items()}


def _meanings(
    given: dict[str, str], own: dict[str, Color], background: Color, foreground: Color
) -> dict[str, Color]:
    """Choose the colors that mean something, so that each can be read and differs from the others."""
    candidates = {
        "bad": ("error",),
        "good": ("success",),
        "train": ("primary", "secondary", "accent"),
        "val": ("accent", "warning", "secondary"),
        "steer": ("secondary", "accent"),
        "attn": ("warning",),
    }
    chosen: dict[str, Color] = {}
    for name, variables in candidates.items():
        wanted = [Color.parse(given[variable]) for variable in variables]
        wanted += [own[one] for one in (name, "train", "val")]
        readable = [_readable(color, background, foreground) for color in wanted]
        chosen[name] = _most_distinct(readable, [*chosen.values(), foreground])
    return chosen


def _readable(color: Color, background: Color, foreground: Color) -> Color:
    """Blend a color with the text's until it can be read on the background."""
    for share in (0.0, 0.2, 0.4, 0.6):
        blended = color.blend(foreground, share, alpha=1.0)
        if contrast(blended, background) >= LEAST_CONTRAST:
            return blended
    return foreground


def _most_distinct(candidates: Sequence[Color], others: Sequence[Color]) -> Color:
    """Return the first candidate that differs enough from the others, or the one that differs most."""
    distances = [min(distance(color, other) for other in others) for color in candidates]
    far = (color for color, least in zip(candidates, distances, strict=True) if least >= LEAST_DISTANCE)
    return next(far, candidates[distances.index(max(distances))])


def contrast(one: Color, other: Color) -> float:
    """Return the contrast ratio of two colors, from 1 to 21 (WCAG 2.1)."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def distance(one: Color, other: Color) -> float:
    """Return the distance of two colors in CIELAB (CIE 1976)."""
    first, second = rgb_to_lab(one), rgb_to_lab(other)
    apart: float = ((first.L - second.L) ** 2 + (first.a - second.a) ** 2 + (first.b - second.b) ** 2) ** 0.5
    return apart


def _luminance(color: Color) -> float:
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in color.normalized
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
