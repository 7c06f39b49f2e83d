"""Files of Berkeley DB, that postmap(1) and makemap(8) write for the types hash and btree."""

from pathlib import Path

_BTREE_MAGIC = (b"\x62\x31\x05\x00", b"\x00\x05\x31\x62")  # of either byte order (magic(5))


def kind_of(path: Path) -> str:
    """Say whether a file is a "btree" or else a "hash". Raises OSError."""
    with path.open("rb") as file:
        return "btree" if file.read(16)[12:] in _BTREE_MAGIC else "hash"
