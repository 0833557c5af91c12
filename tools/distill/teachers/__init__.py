"""Teachers: whatever can be asked. Each is a file; `opening.py` makes one from a recipe."""
