"""Keys as files: a private half under a passphrase, and a public half to hand on."""

import getpass
import json
import os
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, Key

from tools.expert.faults import PublisherError

Ask = Callable[[Path], str]
ENVIRONMENT = "AIOSD_KEY_PASSPHRASE"


def ask(path: Path) -> str:
    """Return the passphrase of a key from the environment, or from whoever sits here."""
    held = os.environ.get(ENVIRONMENT)
    return held if held is not None else getpass.getpass(f"passphrase of {path}: ")


def make_key(path: Path, passphrase: str) -> Key:
    """Write `path` (the private half) and `path`.pub; without a passphrase it is written open.

    Raises:
        PublisherError: one of them exists: keys are never overwritten.
    """
    public = path.with_name(f"{path.name}.pub")
    for each in (path, public):
        if each.exists():
            raise PublisherError(f"{each} exists; a key is never overwritten: take another name")
    private = Ed25519PrivateKey.generate()
    cipher: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        cipher = serialization.BestAvailableEncryption(passphrase.encode())
    data = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher
    )
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    key = CryptoSigner(private).public_key
    shown = {"keyid": key.keyid, **key.to_dict()}
    public.write_text(f"{json.dumps(shown, indent=1)}\n", encoding="utf-8")
    return key


def read_public(path: Path) -> Key:
    """Return the public half in `path`, which may also be named by the private half's name.

    Raises:
        PublisherError: there is none.
    """
    place = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    try:
        held = json.loads(place.read_bytes())
        return Key.from_dict(held.pop("keyid"), held)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PublisherError(f"{place}: no public key ({error}); see: keys new") from error


def open_signer(path: Path, asked: Ask = ask) -> CryptoSigner:
    """Return a signer with the private half in `path`; `asked` gives its passphrase if it has one.

    Raises:
        PublisherError: it cannot be read, or the passphrase is wrong.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PublisherError(f"{path}: no key ({error.strerror})") from error
    secret = asked(path).encode() if b"ENCRYPTED" in data[:64] else None
    try:
        private = serialization.load_pem_private_key(data, secret)
    except (ValueError, TypeError) as error:
        raise PublisherError(f"{path}: the passphrase is wrong, or this is no key") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise PublisherError(f"{path}: not an Ed25519 key; see: keys new")
    return CryptoSigner(private)
