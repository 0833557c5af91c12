"""An emulated arm64 board: Debian's own kernel, systemd and control groups, and our units on it."""
