"""What every process that trains needs: the server for its clients, the event store, signals, telemetry."""
