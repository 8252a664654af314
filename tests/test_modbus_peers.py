"""Other authors' Modbus against ours: pymodbus's server asks nothing of our codecs but to be right,
and mbpoll (libmodbus) as a master reads and writes what our meter side answers.
"""

import asyncio
import os
import pty
import shutil
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pymodbus import FramerType, ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from protocols.base import RefusedError, Reply
from protocols.modbus import Request, RtuCodec, TcpCodec, identify, rtu, tcp
from protocols.modbus_identity import objects
from protocols.modbus_requests import bits
from protocols.modbus_values import decode_value, encode_value

DEADLINE_S = 20
FRAMERS = {rtu: FramerType.RTU, tcp: FramerType.SOCKET}
BOTH = pytest.mark.parametrize("codec", [rtu, tcp], ids=["rtu over tcp", "tcp"])


def port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


@asynccontextmanager
async def pymodbus_meter(codec: RtuCodec | TcpCodec) -> AsyncIterator[int]:
    """Unit 7: -863 and 230.2 from register 100, three free registers from 200.  Gives the port."""
    device = SimDevice(
        7,
        [
            SimData(100, values=-863, datatype=DataType.INT32),
            SimData(102, values=230.2, datatype=DataType.FLOAT32),
            SimData(200, count=3, values=0, datatype=DataType.REGISTERS),
            SimData(20, values=[True, False, True] + 13 * [False], datatype=DataType.BITS),
        ],
        use_bit_addressing=True,
    )
    server = ModbusTcpServer(
        device,
        framer=FRAMERS[codec],
        address=("127.0.0.1", 0),
        identity=ModbusDeviceIdentification(  # type: ignore[no-untyped-call]
            info={0: "Maker", 1: "M1", 2: "V2.11", 4: "A meter", 5: "M1-" + 200 * "x"}
        ),
    )
    await server.serve_forever(background=True)
    try:
        assert isinstance(server.transport, asyncio.Server)
        yield port_of(server.transport)
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


async def exchange(
    codec: RtuCodec | TcpCodec, port: int, *requests: Request
) -> list[Reply | RefusedError]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers: list[Reply | RefusedError] = []
    try:
        for number, request in enumerate(requests):
            writer.write(codec.encode(request, number))
            answers.append(await answer(codec, reader, request, number))
    finally:
        writer.close()
        await writer.wait_closed()
    return answers


async def answer(
    codec: RtuCodec | TcpCodec, reader: asyncio.StreamReader, request: Request, number: int
) -> Reply | RefusedError:
    heard = b""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            heard += await reader.readexactly(1)
            try:
                found, _ = codec.decode(heard, request, number)
            except RefusedError as error:
                return error
            assert found is None or isinstance(found, Reply)
            if found:
                return found


@BOTH
def test_we_read_and_write_a_meter_of_pymodbus(codec: RtuCodec | TcpCodec) -> None:
    async def run() -> list[Reply | RefusedError]:
        async with pymodbus_meter(codec) as port:
            return await exchange(
                codec,
                port,
                Request(7, 3, 100, 4),
                Request(7, 4, 102, 2),
                Request(7, 6, 200, values=(0xABCD,)),
                Request(7, 16, 201, 2, (1, 2)),
                Request(7, 3, 200, 3),
                Request(7, 3, 5000),
            )

    power, voltage, one, many, written, refused = asyncio.run(run())

    assert isinstance(power, Reply)
    assert decode_value(power.data[:4], "i32") == -863
    assert isinstance(voltage, Reply)
    assert decode_value(voltage.data, "f32") == pytest.approx(230.2, rel=1e-7)
    assert one == many == Reply("7", b"")
    assert written == Reply("7", bytes.fromhex("ABCD 0001 0002"))
    assert isinstance(refused, RefusedError)
    assert (refused.code, refused.permanent) == (2, True)


@BOTH
def test_bits_both_ways_at_once_and_who_it_is(codec: RtuCodec | TcpCodec) -> None:
    async def run() -> list[Reply | RefusedError]:
        async with pymodbus_meter(codec) as port:
            return await exchange(
                codec,
                port,
                Request(7, 5, 20 * 16 + 1, 1, (1,)),
                Request(7, 15, 20 * 16 + 8, 3, (1, 0, 1)),
                Request(7, 1, 20 * 16, 11),
                Request(7, 2, 20 * 16, 3),
                Request(7, 23, 200, 3, (7, 8), write_register=201),
                identify(7, level=1),
                identify(7, level=2),
                identify(7, level=4, first=4),
            )

    one, many, coils, inputs, registers, basic, regular, product = asyncio.run(run())

    assert one == many == Reply("7", b"")
    assert isinstance(coils, Reply)
    assert bits(coils.data, 11) == (1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 1)
    assert inputs == Reply("7", b"\x07")
    assert registers == Reply("7", bytes.fromhex("0000 0007 0008"))
    assert isinstance(basic, Reply)
    assert objects(basic.data) == {0: "Maker", 1: "M1", 2: "V2.11"}
    assert isinstance(regular, Reply)
    assert objects(regular.data)[5] == "M1-" + 200 * "x"
    assert isinstance(product, Reply)
    assert objects(product.data) == {4: "A meter"}


def respond(codec: RtuCodec | TcpCodec, buffer: bytes, registers: dict[int, int]) -> bytes:
    """What our meter side sends back, and b"" while the request is not whole."""
    if isinstance(codec, TcpCodec):
        request, _, number = codec.find_request(buffer)
    else:
        (request, _), number = codec.find_request(buffer), 0
    if request is None:
        return b""
    span = range(request.register, request.register + request.count)
    if not registers.keys() >= set(span):
        return codec.encode_exception(request, 2, number)
    registers |= zip(span, request.values, strict=False)
    data = b"".join(registers[register].to_bytes(2, "big") for register in span)
    return codec.encode_reply(request, b"" if request.values else data, number)


async def mbpoll(*arguments: str) -> str:
    program = shutil.which("mbpoll")
    if program is None:
        pytest.skip("mbpoll is not installed (apt-get install mbpoll)")
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(DEADLINE_S):
        output, _ = await process.communicate()
    return output.decode()


def our_registers() -> dict[int, int]:
    voltage = encode_value(230.2, "f32", word_order="little")  # mbpoll's order without -B
    words = [int.from_bytes(voltage[i : i + 2], "big") for i in (0, 2)]
    return {100: 0x1234, 101: 0xFFFF, 102: words[0], 103: words[1]}


async def ask_as_mbpoll(mode: str, *place: str) -> tuple[str, str, str, str]:
    """Read two words, read a float, write two words, read where nothing is."""
    ours = ("-m", mode, "-a", "7", "-0", "-1", "-o", "10", *place)
    host, options = ours[-1], ours[:-1]
    return (
        await mbpoll(*options, "-t", "4:hex", "-r", "100", "-c", "2", host),
        await mbpoll(*options, "-t", "3:float", "-r", "102", "-c", "1", host),
        await mbpoll(*options, "-t", "4", "-r", "100", host, "17", "4242"),
        await mbpoll(*options, "-t", "4", "-r", "900", "-c", "1", host),
    )


def check_what_mbpoll_says(said: tuple[str, str, str, str], registers: dict[int, int]) -> None:
    words, voltage, written, refused = said
    assert "[100]: \t0x1234" in words
    assert "[101]: \t0xFFFF" in words
    assert "[102]: \t230.2" in voltage
    assert "Written 2 references." in written
    assert (registers[100], registers[101]) == (17, 4242)
    assert "Illegal data address" in refused


def test_mbpoll_reads_and_writes_our_meter_over_tcp() -> None:
    registers = our_registers()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = b""
        while heard := await reader.read(300):
            buffer += heard
            if reply := respond(tcp, buffer, registers):
                buffer = b""
                writer.write(reply)
        writer.close()

    async def run() -> tuple[str, str, str, str]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            return await ask_as_mbpoll("tcp", "-p", str(port_of(server)), "127.0.0.1")

    check_what_mbpoll_says(asyncio.run(run()), registers)


def test_mbpoll_reads_and_writes_our_meter_over_a_line() -> None:
    registers = our_registers()
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    buffer = b""

    def hear() -> None:
        nonlocal buffer
        buffer += os.read(ours, 300)
        if reply := respond(rtu, buffer, registers):
            buffer = b""
            os.write(ours, reply)

    async def run() -> tuple[str, str, str, str]:
        asyncio.get_running_loop().add_reader(ours, hear)
        line = os.ttyname(theirs)
        try:
            return await ask_as_mbpoll("rtu", "-b", "9600", "-P", "none", line)
        finally:
            asyncio.get_running_loop().remove_reader(ours)

    try:
        check_what_mbpoll_says(asyncio.run(run()), registers)
    finally:
        os.close(theirs)
        os.close(ours)
