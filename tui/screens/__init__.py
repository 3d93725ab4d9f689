"""The console's screens: the menu, the run, and the questions that the run screen asks."""
