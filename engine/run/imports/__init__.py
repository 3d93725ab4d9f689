"""Takes what other tools have recorded into the list of runs: TensorBoard, CSV and offline wandb."""
