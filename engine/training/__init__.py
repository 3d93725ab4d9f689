"""The training loop and what it needs: control, learning rate, evaluation, early stopping, checkpoints."""
