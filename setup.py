"""Lists the sub-packages of the three top folders; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

FOLDERS = ("engine", "tui", "presets")

setup(
    packages=[
        f"torchconsole.{name}"
        for folder in FOLDERS
        for name in [folder, *(f"{folder}.{sub}" for sub in find_packages(folder))]
    ]
)
