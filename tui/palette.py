"""The colors of torchconsole's own themes: their names, and what each is in truecolor, 256 and 16 colors.

A color says what a thing is (training, validation, steering), never that it is important: bold says that.
No two of the first six colors of compared runs look alike to people with deuteranopia or protanopia in the
dark theme; in the light theme some come close, so each meaning has a sign as well (`tui/signs.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

# fmt: off
_TABLE = """
#name     dark   light   256      16      meaning
bg        111315 fbfaf7  233 231  -  -    the screen; in 16 colors the terminal's own, never painted
surface   191c1f f1efea  234 255  -  -    header line, key line
raised    24282d e6e3dc  235 254  -  -    values at the cursor, dialogs
select    2d343b d9e4ec  236 253  -  -    highlighted row, chosen tab; reverse in 16 colors
future    0d0f10 f5f3ee  232 255  -  -    the part of a chart that is still to come
grid      272c31 e4e1d9  236 254  8  7    grid lines
gridband  263f4d b9d3e4  238 250  8  7    grid lines within the band
rule      3a4149 c9c5bb  238 250  8  7    frames; the frame that has the focus is `muted`
faint     6e7883 86837b  243 244  8  8    tick labels, times, remarks
muted     8f9aa5 6d6a63  246 242  7  8    names, words of keys, checkpoints, other metrics
text      c9d1d9 33383d  252 237  -  -    plain text
strong    f3f6f8 0b0e11  231 232  15 0    titles, keys, numbers (with bold)
train     5fb8ec 0072b2  74  25   14 4    all of the training split, progress bar, finished
band      182b38 cfe2ef  236 189  -  -    tint behind the training line
banddot   2f607e 7fb2d4  24  110  6  12   dots in the tint
val       f2a020 b86800  214 130  11 5    all of the validation split
valdim    7a5618 e0b070  94  179  3  13   earlier values of the validation split
steer     d98cb8 a8447f  175 132  13 6    what a person steers: lr, changes
steerdim  5c4152 e0b9cf  239 182  5  14   lines of changes
good      2fbf94 00805c  36  29   10 2    running, ready, better, busy GPU, resumed
gooddim   1a4a3d 9ad2bf  237 115  2  10   history of a busy GPU
attn      f0dc5a 6f6100  221 58   15 0    look here: best, paused, requested, warning (always with its sign)
bad       f2703c a11d1d  203 124  9  1    failed, lost, nan, limits passed
ink       0b0e11 ffffff  232 231  0  15   letters on a badge
meter     7f9bb3 4f728c  109 60   7  4    meters
meterdim  2b3239 dcd8cf  237 252  8  7    the empty part of a meter
meterhist 3d4f5f b3c3cf  239 250  8  7    history of a meter
heat0     14181b fbfaf7  233 231  -  -    right classes, from none (0) to all (6)
heat1     17303f dfeaf2  236 255  -  -
heat2     1d4a63 b9d3e6  24  153  -  -
heat3     2d6c8d 84b2d4  31  110  -  -
heat4     5a97ab 4a8cbb  67  67   -  -
heat5     a5c3bd 1f6699  151 25   -  -
heat6     f3efd2 08406b  230 24   -  -
err0      14181b fbfaf7  233 231  -  -    confusions, from none (0) to many (4)
err1      3a2a14 f5e6cc  236 230  -  -
err2      6b4713 ecc88a  94  222  -  -
err3      a86d14 d99a3c  136 179  -  -
err4      f2a020 b86800  214 130  -  -
"""
# fmt: on

COMPARED = ("train", "val", "good", "steer", "attn", "bad")
"""The colors of compared runs, in this order."""

_LIGHT_GREY = 231
_CUBE = (0, 95, 135, 175, 215, 255)


@dataclass(frozen=True)
class Shade:
    """One color: `hex` in truecolor, `index` in 256 colors, `ansi` in 16 (None: the terminal's own)."""

    hex: str
    index: int
    ansi: int | None


def _read(theme: int) -> dict[str, Shade]:
    shades = {}
    for line in _TABLE.strip().splitlines()[1:]:
        name, *cells = line.split()[:7]
        ansi = cells[4 + theme]
        shades[name] = Shade(f"#{cells[theme]}", int(cells[2 + theme]), None if ansi == "-" else int(ansi))
    return shades


DARK, LIGHT = _read(0), _read(1)
"""Name -> color of the dark and of the light theme."""

_READABLE = {1: 1, 2: 2, 4: 6, 5: 5}
"""Of the first eight colors: red, green and magenta stay; blue, which is navy on black, becomes cyan."""

ON_EITHER = {
    name: None if shade.ansi is None else _READABLE.get(shade.ansi % 8) for name, shade in LIGHT.items()
}
"""Name -> one of the 16 colors that is readable on a dark and on a light background; None for its own."""

INDEXES = {shade.hex: shade.index for theme in (LIGHT, DARK) for shade in theme.values()}
"""Color in truecolor -> the one of the 256 that stands for it."""


def indexed_hex(index: int) -> str:
    """Return a color that Rich reduces to exactly this one of the 256 (16 to 255).

    Left to itself, Rich makes navy of the tint and teal of dark green.
    """
    if index > _LIGHT_GREY:
        return "#" + f"{round((index - _LIGHT_GREY) * 10.2):02x}" * 3
    red, rest = divmod(index - 16, 36)
    green, blue = divmod(rest, 6)
    return f"#{_CUBE[red]:02x}{_CUBE[green]:02x}{_CUBE[blue]:02x}"
