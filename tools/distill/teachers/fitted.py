"""What a teacher that is fitted here is known by."""

import hashlib
import json

import msgspec

from tools.distill.table import Table, key_of


def fit_digest(kind: str, spec: msgspec.Struct, table: Table) -> str:
    """Return a fingerprint of a teacher that is fitted: its settings and all it learns from."""
    digest = hashlib.sha256(json.dumps(msgspec.to_builtins(spec), sort_keys=True).encode())
    for one, label in zip(table.inputs, table.labels, strict=True):
        digest.update(key_of(one) + int(label).to_bytes(8, "big", signed=True))
    return f"{kind} {digest.hexdigest()[:16]}"
