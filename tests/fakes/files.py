"""Files of a made-up root, such as of /proc and /sys."""

from pathlib import Path


def write_files(root: Path, files: dict[str, str]) -> Path:
    """Write each text to its path below `root`, and return that."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
