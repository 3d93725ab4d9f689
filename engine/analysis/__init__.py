"""Reports about presets, checkpoints and the machine, for the console and the command line."""
