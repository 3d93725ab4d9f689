"""Several processes that train together: meeting, agreeing on commands, sums and shared state."""
