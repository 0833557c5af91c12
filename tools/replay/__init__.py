"""Replays traces of requests through the real, pure policies in simulated time."""
