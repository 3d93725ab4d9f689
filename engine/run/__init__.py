"""A run on disk: its folder, record, metrics files, checkpoints, lock and register. Torch-free."""
