"""Gives what a run logs to other tools: a CSV file, TensorBoard, Weights & Biases, MLflow."""
