"""Programs that are copied into exported folders: they import nothing of torchconsole."""
