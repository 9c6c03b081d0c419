"""The socket that a session is reached over."""

import asyncio

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.server import ServerProtocol

from voicebus_client.dial import open_socket
from voicebus_client.options import Options

PENDING = 8_000_000  # bytes, more than any socket's buffers hold


async def test_what_was_flushed_after_the_other_side_had_gone_does_not_keep_from_closing() -> None:
    last_words, served = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
        (request,) = protocol.events_received()
        protocol.send_response(protocol.accept(request))  # type: ignore[arg-type]  # a request comes first
        writer.writelines(protocol.data_to_send())
        await last_words.wait()
        writer.write_eof()
        while await reader.read(65_536):
            pass
        writer.close()
        await writer.wait_closed()
        served.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(20):
            socket = await open_socket(f"ws://127.0.0.1:{port}/", {}, Options())
            socket.transport.write(bytes(PENDING))
            last_words.set()
            await socket.wait_closed()
            with pytest.raises(ConnectionClosed):
                await socket.send("x")
            await socket.close()
            await served.wait()
