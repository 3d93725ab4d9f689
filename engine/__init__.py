"""The training engine: presets, the training loop, and the worker process of each run."""
