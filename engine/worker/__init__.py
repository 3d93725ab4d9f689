"""The detached process that trains a preset."""
