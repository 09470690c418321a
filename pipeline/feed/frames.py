"""WebSocket frames of a server, split from the bytes of a socket. Pure: the shell receives.

    space()      where to receive into
    received()   so many bytes are there
    next()       the next message or control frame, whole

A server masks nothing, and no extension is asked for (RFC 6455, section 5). A message in fragments
is put together; a control frame may stand between them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

FRAME_BYTES_MAX = 16 * 2**20  # 3 000 instruments in mode full are 558 kB
BUFFER_BYTES = 2**18
_FIN, _RESERVED_BITS, _OPCODE_BITS = 0x80, 0x70, 0x0F
_FIN_BINARY = 0x82  # a whole message of data: nearly all frames
_HEAD_BYTES_MIN = 2
_CONTROL_BYTES_MAX = 125
_LENGTH_16, _LENGTH_64 = 126, 127


class Opcode(IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_OPCODES = frozenset(Opcode)


class FrameError(Exception):
    """The bytes are no frames that a server may send."""


class Frame(NamedTuple):
    """One message, or one control frame."""

    opcode: int  # never CONTINUATION
    data: memoryview  # until the next call of ``space``


class Frames:
    """The bytes received so far and not yet given out as frames."""

    def __init__(
        self, buffer_bytes: int = BUFFER_BYTES, frame_bytes_max: int = FRAME_BYTES_MAX
    ) -> None:
        self._view = memoryview(bytearray(buffer_bytes))
        self._frame_bytes_max = frame_bytes_max
        self._start = self._end = 0  # what lies between is not given out
        self._wanted = 0  # bytes of the frame that is not complete, as far as they are known
        self.drained = True  # the last ``next`` gave None
        self._opcode = 0  # of the message that comes in fragments; 0 = there is none
        self._fragments = bytearray()

    def space(self) -> memoryview:
        """Return where the next bytes belong, never empty. Asked for when ``next`` gave None.

        What the frames before showed is overwritten from now on.
        """
        if self._start == self._end:
            self._start = self._end = 0
        if self._start + self._wanted > len(self._view) or self._end == len(self._view):
            self._make_room()
        return self._view[self._end :]

    def _make_room(self) -> None:
        """Move what is left to the front, of a larger buffer where the frame needs one."""
        left = bytes(self._view[self._start : self._end])
        if self._wanted > len(self._view):
            self._view = memoryview(bytearray(self._wanted))
        self._view[: len(left)] = left
        self._start, self._end = 0, len(left)

    def received(self, count: int) -> None:
        """Say that ``count`` bytes were received into ``space()``."""
        self._end += count

    def next(self) -> Frame | None:
        """Return the next frame that is whole, None when there is none. Raises FrameError."""
        self.drained = False
        while True:
            view, start, here = self._view, self._start, self._end - self._start
            if here < _HEAD_BYTES_MIN:
                self._wanted = _HEAD_BYTES_MIN
                break
            first, length, head = view[start], view[start + 1], _HEAD_BYTES_MIN
            if length >= _LENGTH_16:
                head, length = self._longer(start, length)
                if here < head:
                    self._wanted = head
                    break
            if first != _FIN_BINARY or self._opcode:
                self._check(first, length)
            if here < head + length:
                self._wanted = head + length
                break
            self._start = end = start + head + length
            data = view[start + head : end]
            if first == _FIN_BINARY:
                return Frame(Opcode.BINARY, data)
            frame = self._control_or_fragment(first, data)
            if frame is not None:
                return frame
        self.drained = True
        return None

    def _longer(self, start: int, length: int) -> tuple[int, int]:
        """Return the bytes of a longer head and the length in it, of no meaning before it came."""
        if length > _LENGTH_64:
            raise FrameError("a masked frame, which a server may not send")
        head = 4 if length == _LENGTH_16 else 10
        length = int.from_bytes(self._view[start + 2 : start + head], "big")
        if self._end - start >= head and length > self._frame_bytes_max:
            raise FrameError(
                f"a frame of {length} bytes, at most {self._frame_bytes_max} are taken"
            )
        return head, length

    def _check(self, first: int, length: int) -> None:
        """Raise FrameError for the head of a frame that may not stand here."""
        opcode = first & _OPCODE_BITS
        if first & _RESERVED_BITS or opcode not in _OPCODES:
            raise FrameError(f"a frame that starts with 0x{first:02x}")
        if opcode >= Opcode.CLOSE:
            if not first & _FIN or length > _CONTROL_BYTES_MAX:
                raise FrameError("a control frame in fragments, or of more than 125 bytes")
        elif bool(self._opcode) != (opcode == Opcode.CONTINUATION):
            raise FrameError("a fragment without its message, or a message within another")
        elif len(self._fragments) + length > self._frame_bytes_max:
            raise FrameError(f"a message of more than {self._frame_bytes_max} bytes")

    def _control_or_fragment(self, first: int, data: memoryview) -> Frame | None:
        opcode = first & _OPCODE_BITS
        if opcode >= Opcode.CLOSE:
            return Frame(opcode, data)
        if first & _FIN and not self._opcode:
            return Frame(opcode, data)
        self._opcode = self._opcode or opcode
        self._fragments += data
        if not first & _FIN:
            return None
        message = Frame(self._opcode, memoryview(bytes(self._fragments)))
        self._opcode = 0
        self._fragments.clear()
        return message
