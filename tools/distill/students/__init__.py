"""Students: what fits the board. Each is a file that needs PyTorch, imported when it is chosen."""
