"""Lists the packages of the top folders; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

FACADE = "engine/facade"

inner = [
    f"{folder}.{name}".rstrip(".")
    for folder in ("engine", "tui", "presets")
    for name in ["", *find_packages(folder, exclude=["facade", "facade.*"])]
]
setup(packages=["torchconsole", *(f"torchconsole.{name}" for name in [*find_packages(FACADE), *inner])])
