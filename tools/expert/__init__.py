"""From a model file to a signed release that boards take: `python -m tools.expert --help`."""
