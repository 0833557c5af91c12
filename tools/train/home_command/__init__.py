"""Training of the ``home-command`` expert: sentences to intent-and-slots JSON."""
