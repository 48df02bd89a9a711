"""The data of a message, read in bulk (RFC 5321 4.1.1.4, 4.5.2).

Only CRLF.CRLF ends the data and only a dot after CRLF is a stuffed one. Every other look-alike
(LF.LF, LF.CRLF, CR.CRLF) is content, so that no message can be smuggled inside another.
"""

from __future__ import annotations

import io

from delivery.gateway.refusal import TOO_LARGE, Refusal

END = b"\r\n.\r\n"
_DOT = b"\r\n."
_PIECE = 1 << 18  # bytes


class DataReader:
    """Takes chunks until the end of data. The result starts with `prefix`, which must end in CRLF.

    `limit` is the greatest size in bytes of the message without `prefix`. What is too large is read to
    its end and forgotten on the way.
    """

    def __init__(self, prefix: bytes, limit: int) -> None:
        self._buffer = bytearray(prefix)
        self._prefix = len(prefix)
        self._limit = limit
        # The CRLF of the prefix stands for the one of the DATA command: a first line "." ends the data.
        self._scanned = len(prefix) - 2
        self._stuffed = 0
        self._refusal = ""

    def __len__(self) -> int:
        """Bytes held."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> bytes | None:
        """Take a chunk. At the end of data return what follows it (commands), else None."""
        buffer = self._buffer
        before = len(buffer)
        buffer += chunk
        # Nearly always the first dot that begins a line is the end: one look, not one for each question.
        dot = buffer.find(_DOT, self._scanned)
        end = dot if dot < 0 or buffer.startswith(END, dot) else buffer.find(END, dot)
        if end >= 0:
            rest = bytes(memoryview(buffer)[end + len(END) :])
            del buffer[end + 2 :]
            if end > dot:
                self._stuffed += buffer.count(_DOT, max(0, before - 2))
            return rest
        self._scanned = max(self._scanned, len(buffer) - len(END) + 1)
        if self._refusal:
            self._forget()
            return None
        if dot >= 0:
            self._stuffed += buffer.count(_DOT, before - 2)
        # The last bytes may belong to the end of data.
        if len(buffer) - self._prefix - self._stuffed > self._limit + len(END):
            self.refuse(TOO_LARGE)
        return None

    def refuse(self, reply: str) -> None:
        """Forget the message; `content` will raise with this reply once the end was read."""
        self._refusal = self._refusal or reply
        self._forget()

    def _forget(self) -> None:
        del self._buffer[: self._scanned]
        self._scanned = 0

    def content(self, *, refuse_bare: bool) -> bytearray:
        """The whole message: prefix first, dots unstuffed, every line end CRLF.

        Of a stray CR or LF a line end is made, a CR doubled before LF is dropped; or, with
        `refuse_bare`, the message is refused. Raises Refusal.
        """
        if self._refusal:
            raise Refusal(self._refusal)
        data = self._buffer
        self._buffer = bytearray()
        if self._stuffed:
            data = data.replace(_DOT, b"\r\n")
        if _has_bare(data):
            if refuse_bare:
                raise Refusal("554 5.6.0 Bare CR or LF in the message: lines end in CRLF (RFC 5321 2.3.8)")
            # Twice: of CR CR LF the first round leaves CR LF.
            data = data.replace(b"\r\n", b"\n").replace(b"\r\n", b"\n")
            data = data.replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        if len(data) - self._prefix > self._limit:
            raise Refusal(TOO_LARGE)
        return data


def _has_bare(data: bytearray) -> bool:
    """Whether some line ends otherwise than in CRLF. One walk in C; counting CR, LF and CRLF takes three."""
    seen = io.IncrementalNewlineDecoder(None, translate=False)
    for start in range(0, len(data), _PIECE):
        seen.decode(data[start : start + _PIECE].decode("latin-1"))
    seen.decode("", final=True)
    return seen.newlines not in (None, "\r\n")
