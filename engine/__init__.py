"""The training engine: what to train, the loop that trains it, and the run as a process of its own."""
