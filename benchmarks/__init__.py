"""The measurements behind the figures in docs/figures.md: `make bench`."""
