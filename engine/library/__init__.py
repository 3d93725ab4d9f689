"""The user's own training loop under the console: what it does is observed, and steered between its steps."""
