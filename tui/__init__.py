"""The console: a Textual face for runs. Never imports torch; what it knows of a run comes over the socket."""
