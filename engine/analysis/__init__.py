"""Looks at a model or a machine without training: the layer summary, and the reports the console asks for."""
