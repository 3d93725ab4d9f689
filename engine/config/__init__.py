"""What to train: the preset's schema, where presets are found, and how they are read and overridden.

Free of torch: structure is checked here, names and arguments of components where torch is at hand.
"""
