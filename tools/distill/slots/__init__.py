"""A sentence's intent and slots: a tagger that reads both ways teaches a small language model."""
