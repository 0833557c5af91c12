"""Teaching material: what was asked and answered, kept for the distillery if the owner says so.

With a public key given, each line is sealed to it (X25519 and XSalsa20-Poly1305, libsodium's sealed
box), so that the board itself cannot read what it kept; the private key stays at the distillery.
Without one the lines are plain, in a file that only this user may read.
"""

import base64
import binascii
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from aiosd.domain.errors import ConfigError
from aiosd.uplink.journal import Journal

FILE = "teaching.jsonl"
_KEY_BYTES = 32

Seal = Callable[[bytes], bytes]


class Teaching:
    """A bounded file of JSON lines."""

    def __init__(self, folder: Path, most_bytes: int, key_file: str) -> None:
        """Keep at most `most_bytes`; seal each line if a key is given.

        Raises:
            ConfigError: the key is none, or the library that seals is missing.
        """
        self._journal = Journal(folder / FILE, most_bytes)
        self._seal = _sealer(Path(key_file)) if key_file else None
        self.sealed = self._seal is not None

    def keep(self, entry: Mapping[str, object]) -> None:
        """Add a line.

        Raises:
            OSError: it cannot be written.
        """
        if self._seal is None:
            self._journal.add(entry)
        else:
            box = self._seal(msgspec.json.encode(entry))
            self._journal.add({"sealed": base64.b64encode(box).decode("ascii")})


def _sealer(path: Path) -> Seal:
    """Return what seals to the public key in a file (32 bytes as base64)."""
    try:
        key = base64.b64decode(path.read_text(encoding="ascii").strip(), validate=True)
    except (OSError, UnicodeDecodeError, binascii.Error) as error:
        raise ConfigError(f"keep_key_file: {error}", path=str(path)) from error
    if len(key) != _KEY_BYTES:
        raise ConfigError(f"keep_key_file: a key has 32 bytes, not {len(key)}", path=str(path))
    try:
        public = importlib.import_module("nacl.public")
    except ImportError as error:
        raise ConfigError(
            f"keep_key_file needs a library that is missing: {error}; pip install 'aiosd[uplink]'"
        ) from error
    seal: Seal = public.SealedBox(public.PublicKey(key)).encrypt
    return seal
