"""Tables: files of rows and columns, and how their columns become inputs and targets."""
