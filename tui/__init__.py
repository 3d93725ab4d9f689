"""The console and the command line. Never imports torch: all facts about a run come over its socket."""
