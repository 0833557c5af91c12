"""The distillery: a teacher's knowledge, pressed into an expert that fits the board, with proof.

A run goes through five stages, each kept in the run's folder, so that whatever ends it costs at
most one checkpoint: data (`sources`, `checks`), teacher (`teachers`, `asking`, `logit_cache`),
students (`training`, `students`), package (`packing`) and proof (`proof`, `engine`, `report`).
What needs no PyTorch does not import it. docs/distillery.md says how it is used.
"""
