"""A Modbus TCP server that costs next to nothing, so that the gateway is what is measured.

    python -m tests.bench.responder PORTS

It says where its ports are, a line each, then answers every read, whatever unit and registers are
asked for, with the same numbers.  A line on standard input is answered with the registers served.
"""

import socket
import struct
import sys
import threading
from contextlib import suppress

HEADER = struct.Struct(">HHHBBHH")
"""Number, protocol, length, unit, function, register, count.  Source: Modbus on TCP/IP V1.0b."""
REGISTERS = b"".join(struct.pack(">H", 1000 + n) for n in range(125))


class Responder:
    """Counts what it served."""

    def __init__(self) -> None:
        self.served = 0

    def serve(self, client: socket.socket) -> None:
        """Answer one client until it leaves.  A request comes whole: it is twelve bytes."""
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client, suppress(ConnectionResetError):
            while request := client.recv(HEADER.size):
                number, _, _, unit, function, _, count = HEADER.unpack(request)
                head = struct.pack(">HHHBBB", number, 0, 3 + 2 * count, unit, function, 2 * count)
                client.sendall(head + REGISTERS[: 2 * count])
                self.served += count


def main() -> None:
    """Serve until standard input ends."""
    responder = Responder()

    def accept(door: socket.socket) -> None:
        while True:
            client, _ = door.accept()
            threading.Thread(target=responder.serve, args=(client,), daemon=True).start()

    for _ in range(int(sys.argv[1])):
        door = socket.create_server(("127.0.0.1", 0))
        print(f"tcp://127.0.0.1:{door.getsockname()[1]}", flush=True)
        threading.Thread(target=accept, args=(door,), daemon=True).start()
    for _ in sys.stdin:
        print(responder.served, flush=True)


if __name__ == "__main__":
    main()
