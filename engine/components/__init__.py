"""Builds torch objects from the sections of a preset: data, model, loss, optimizer, schedule and device."""
