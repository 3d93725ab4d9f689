"""A run on disk: folder, record, metrics files, checkpoints, lock, socket and registry. Free of torch."""
