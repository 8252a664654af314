"""Modbus TCP with a gateway that does not give our transaction numbers back.

Some serial servers number their answers themselves, or write 0.  Then unit, function and byte count
alone say what an answer belongs to, as on RS-485: it is the answer to the request that is open, if
there is one only.  A late one looks the same, so after each missing answer the caller must open the
connection anew; with the old one everything that was late is gone.
"""

from typing import Final

from protocols.base import Reply, Stray
from protocols.modbus import Request, TcpCodec
from protocols.modbus_wire import mbap_size


class UnnumberedCodec(TcpCodec):
    """Modbus TCP whose answers may bear any number.  The stream must begin with a whole frame."""

    def decode(
        self, buffer: bytes, request: Request, number: int = 0
    ) -> tuple[Reply | Stray | None, int]:
        """The same as of any codec, whatever the frames' numbers."""
        numbered, start = bytearray(buffer), 0
        # From frame to frame only: what looks like a header may stand within a value.
        while size := mbap_size(buffer[start:]):
            numbered[start : start + 2] = (number & 0xFFFF).to_bytes(2, "big")
            start += size
        return super().decode(bytes(numbered), request, number)


unnumbered: Final = UnnumberedCodec()
"""The codec of such gateways."""
