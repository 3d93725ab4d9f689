"""What messages about tables advise: how columns are left out, and which values mean that there is none."""

from __future__ import annotations

import json
from collections.abc import Sequence

from torchconsole.engine.components.data.tables.options import TableOptions


def toml_list(values: Sequence[str | float]) -> str:
    """Write texts and numbers as a TOML list."""
    return json.dumps(list(values), ensure_ascii=False)


def leave_out(names: Sequence[str], options: TableOptions) -> str:
    """Return what leaves out columns besides those that are left out already: `set data.drop = [...]`.

    Columns must leave all other keys that name them, too.
    """
    listed = [
        key
        for key, columns in (
            ("features", options.features or ()),
            ("categorical", options.categorical),
            ("dates", options.dates),
        )
        if set(names) & set(columns)
    ]
    which = " and ".join(map(repr, names))
    removed = f"remove {which} from {' and '.join(f'data.{key}' for key in listed)}"
    if options.features is not None:
        return removed
    return f"set data.drop = {toml_list([*options.drop, *names])}" + f" and {removed}" * bool(listed)


def mark_as_gaps(texts: Sequence[str], options: TableOptions) -> str:
    """Return the keys with which texts mean that there is no value: `set data.na_values = [...]`."""
    values = f"set data.na_values = {toml_list([*options.na_values, *texts])}"
    return values + ' and data.missing = "drop"' * (options.missing == "error")
