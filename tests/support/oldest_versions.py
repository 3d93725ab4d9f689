"""Print pip constraints for the oldest dependencies that pyproject.toml allows.

Run it as `python -m tests.support.oldest_versions`.
Each lower bound becomes its first minor series: `numpy>=2` becomes `numpy==2.0.*`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def oldest_versions(dependencies: list[str]) -> Iterator[str]:
    """Yield one constraint per dependency. Raises ValueError for a dependency without a lower bound."""
    for dependency in dependencies:
        match = re.match(r"([A-Za-z0-9._-]+)>=([0-9.]+)", dependency)
        if match is None:
            raise ValueError(f"pyproject.toml: {dependency!r} has no lower bound; write it as name>=version")
        name, bound = match.groups()
        yield f"{name}=={bound}.*" if "." in bound else f"{name}=={bound}.0.*"


if __name__ == "__main__":
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    print("\n".join(oldest_versions(project["dependencies"])))
