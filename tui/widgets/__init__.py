"""The widgets of the console's screens. They draw a `ConsoleState` and never communicate with a run."""
