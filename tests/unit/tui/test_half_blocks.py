"""Pictures become cells of two pixels each."""

from __future__ import annotations

import numpy as np
from rich.color import Color

from torchconsole.tui.half_blocks import draw_picture
from torchconsole.tui.picture_cells import Cell, is_pixel, picture_line, pixel_style, segments


def test_a_cell_has_two_pixels() -> None:
    pixels = np.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]], dtype=np.uint8)
    assert draw_picture(pixels, 10, 10) == [
        [Cell("▀", (1, 2, 3), (7, 8, 9)), Cell("▀", (4, 5, 6), (10, 11, 12))]
    ]


def test_below_an_odd_row_the_terminal_keeps_its_color() -> None:
    gray = np.array([[0], [128], [255]], dtype=np.uint8)
    assert draw_picture(gray, 1, 2) == [
        [Cell("▀", (0, 0, 0), (128, 128, 128))],
        [Cell("▀", (255, 255, 255), None)],
    ]


def test_a_large_picture_is_reduced_to_means() -> None:
    pixels = np.zeros((8, 16), dtype=np.uint8)
    pixels[:4, :8] = 200
    pixels[0, 0] = 216  # the mean of 16 pixels gains 1
    rows = draw_picture(pixels, 4, 10)
    assert [[(cell.fg or (0,))[0] for cell in row] for row in rows] == [[201, 200, 0, 0]]
    assert all(cell.bg == (0, 0, 0) for cell in rows[0])


def test_proportions_are_kept() -> None:
    for size, room, expected in (
        ((30, 20), (40, 5), (5, 7)),  # 10 pixels high
        ((20, 300), (30, 10), (1, 30)),
        ((1, 500), (10, 10), (1, 10)),
        ((7, 5), (100, 100), (4, 5)),
        ((101, 103), (17, 9), (9, 17)),
    ):
        rows = draw_picture(np.full((*size, 3), 77, np.uint8), *room)
        assert (len(rows), len(rows[0])) == expected
        assert {cell.fg for row in rows for cell in row} == {(77, 77, 77)}


def test_without_colors_characters_show_the_brightness() -> None:
    gray = np.array([[0, 255, 100], [0, 255, 140], [255, 0, 100]], dtype=np.uint8)
    rows = draw_picture(gray, 10, 10, painted=False)
    assert ["".join(cell.char for cell in row) for row in rows] == [" @=", "@ -"]
    assert all(cell[1:] == (None, None) for row in rows for cell in row)
    light = draw_picture(gray, 10, 10, painted=False, dark=False)
    assert ["".join(cell.char for cell in row) for row in light] == ["@ +", " @*"]


def test_a_stretch_of_equal_cells_is_one_segment() -> None:
    red, blue = (255, 0, 0), (0, 0, 255)
    found = segments([Cell("▀", red, blue), Cell("▀", red, blue), Cell("▀", blue)])
    assert [each.text for each in found] == ["▀▀", "▀"]
    styles = [each.style for each in found]
    assert styles[0] is not None
    assert (styles[0].color, styles[0].bgcolor) == (Color.from_rgb(*red), Color.from_rgb(*blue))
    assert styles[1] is not None
    assert styles[1].bgcolor is None
    assert segments([]) == []


def test_colors_of_256_are_the_nearest_ones() -> None:
    for color, index in (
        ((255, 0, 0), 196),
        ((10, 30, 12), 233),
        ((28, 28, 28), 234),
        ((96, 134, 176), 67),
        ((0, 0, 60), 17),
        ((0, 0, 40), 233),
        ((250, 250, 250), 231),
    ):
        (found,) = segments([Cell("▀", color, None)], indexed=True)
        assert found.style is not None
        assert found.style.color is not None
        assert found.style.color.number == index


def test_a_row_is_spans_of_a_line_with_the_colors_of_its_cells() -> None:
    red, blue = (255, 0, 0), (0, 0, 95)
    found = picture_line([Cell("▀", red, blue), Cell("▀", red, blue), Cell("▀", blue), Cell("#")])
    assert found == [("▀▀", "#ff0000 on #00005f"), ("▀", "#00005f on default"), ("#", "text")]
    assert [is_pixel(tone) for _, tone in found] == [True, True, False]
    style = pixel_style(found[0][1], indexed=False)
    assert (style.color, style.bgcolor) == (Color.from_rgb(*red), Color.from_rgb(*blue))
    style = pixel_style(found[1][1], indexed=True)
    assert (style.color, style.bgcolor) == (Color.from_ansi(17), None)
