"""The run screen's widgets, one to a file. They show a `ConsoleState`; none of them speaks to a run."""
