"""A SIMULATED board: a folder with the /sys, /proc and device tree of one, which behaves.

Nothing here is measured on hardware. Figures of a board come from its profile; what the profile
does not know is an assumption of `tools/boardsim/shapes.py`. See `docs/boardsim.md`.
"""
