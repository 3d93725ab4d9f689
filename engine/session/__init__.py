"""Needed by every process that trains: server for clients, event store, signals and telemetry."""
