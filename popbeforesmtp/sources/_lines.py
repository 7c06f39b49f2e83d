"""Cuts a stream of bytes into whole lines: LF ends a line, nothing else does."""

from popbeforesmtp.sources import LONGEST_LINE


class LineCutter:
    """Collects pieces as they come and gives back whole lines; a line without its LF waits for it."""

    def __init__(self) -> None:
        self.offset = 0  # bytes of the stream before the next line
        self.line = 1  # number of the next line
        self.too_long = 0
        self._rest = bytearray()
        self._skipping = False

    @property
    def pending(self) -> bool:
        """Whether a line has begun that has no LF yet."""
        return bool(self._rest) or self._skipping

    def cut(self, piece: bytes) -> tuple[bytes, int, int]:
        """Add a piece; return all whole lines, the offset and the number of the first of them."""
        if self._skipping:
            end = piece.find(b"\n") + 1
            self.offset += end or len(piece)
            if not end:
                return b"", self.offset, self.line
            self._skipping = False
            self.line += 1
            piece = piece[end:]
        self._rest += piece
        end = self._rest.rfind(b"\n") + 1
        lines, start, first = bytes(self._rest[:end]), self.offset, self.line
        del self._rest[:end]
        self.offset += end
        self.line += lines.count(b"\n")
        if len(self._rest) > LONGEST_LINE:
            self.offset += len(self._rest)
            self._rest.clear()
            self._skipping = True
            self.too_long += 1
        return lines, start, first
