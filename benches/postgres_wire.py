"""Speaks the protocol of PostgreSQL: a proxy that records the statements that a server sends to its database,
and a client that repeats these statements."""

import asyncio
import struct
import time
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

SSL_REQUEST = 80877103
READY = b"Z\0\0\0\5"


def message(kind, content):
    return kind + struct.pack("!i", len(content) + 4) + content


def string(text):
    return text.encode() + b"\0"


@dataclass(frozen=True)
class Statement:
    """A statement as a client sent it: in the simple protocol, or with the types and the values of its parameters."""

    sql: str
    types: tuple = ()
    formats: tuple = ()
    values: tuple = ()
    result_formats: tuple = ()
    is_simple: bool = False


class Proxy:
    """Forwards connections to a database server, and records each statement as (time, connection, statement)."""

    def __init__(self, url):
        self.target, self.recorded, self.connections, self.tasks = urlsplit(url), [], 0, set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.connect, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        user = self.target.netloc.rpartition("@")[0]
        self.url = self.target._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def connect(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        self.connections += 1
        number = self.connections
        upstream, database = await asyncio.open_connection(self.target.hostname, self.target.port)
        back = asyncio.create_task(copy(upstream, writer))
        try:
            await self.forward(reader, database, writer, number)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            back.cancel()
            database.close()
            writer.close()

    async def forward(self, reader, database, client, number):
        """Forwards the messages of a client."""
        while True:  # The first message has no type. Refuse encryption, to read the statements.
            head = await reader.readexactly(8)
            length, code = struct.unpack("!ii", head)
            if code != SSL_REQUEST:
                break
            client.write(b"N")
        database.write(head + await reader.readexactly(length - 8))
        prepared, bound = {}, {}
        while True:
            head = await reader.readexactly(5)
            content = await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
            database.write(head + content)
            kind = head[:1]
            if kind == b"P":
                name, sql, rest = content.split(b"\0", 2)
                count, = struct.unpack_from("!h", rest)
                prepared[name] = sql.decode(), struct.unpack_from(f"!{count}i", rest, 2)
            elif kind == b"B":
                portal, name, rest = content.split(b"\0", 2)
                bound[portal] = Statement(*prepared[name], *bind_values(rest))
            elif kind == b"E":
                self.recorded.append((time.perf_counter(), number, bound[content.split(b"\0", 1)[0]]))
            elif kind == b"Q":
                simple = Statement(content[:-1].decode(), is_simple=True)
                self.recorded.append((time.perf_counter(), number, simple))


async def copy(reader, writer):
    while part := await reader.read(65536):
        writer.write(part)


def bind_values(rest):
    """Returns the formats and values of the parameters, and the formats of the result."""
    at, lists = 0, []
    for is_values in (False, True, False):
        count, = struct.unpack_from("!h", rest, at)
        at += 2
        entries = []
        for _ in range(count):
            if is_values:
                length, = struct.unpack_from("!i", rest, at)
                at += 4
                entries.append(None if length < 0 else rest[at:at + length])
                at += max(length, 0)
            else:
                entries.append(struct.unpack_from("!h", rest, at)[0])
                at += 2
        lists.append(tuple(entries))
    return lists


class Connection(asyncio.Protocol):
    """A connection to the database, which prepares each statement once, as the server does."""

    def __init__(self, url):
        self.url, self.buffer, self.waiting, self.names = urlsplit(url), bytearray(), None, {}

    @classmethod
    async def open(cls, url):
        target = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, self = await loop.create_connection(lambda: cls(url), target.hostname, target.port)
        parameters = b"".join(map(string, ("user", unquote(target.username), "database", target.path[1:]))) + b"\0"
        content = struct.pack("!i", 196608) + parameters
        await self.exchange(struct.pack("!i", len(content) + 4) + content)
        return self

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        if self.buffer[:1] == b"R" and self.buffer[5:9] == b"\0\0\0\3":  # The server requests the password.
            self.buffer.clear()
            self.transport.write(message(b"p", string(unquote(self.url.password))))
        # Each response, even after an error, ends with ReadyForQuery. Its last byte is the transaction state.
        elif self.buffer[-6:-1] == READY and self.waiting:
            waiting, self.waiting, response = self.waiting, None, bytes(self.buffer)
            self.buffer.clear()
            waiting.set_result(response)

    async def exchange(self, data):
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        response = await self.waiting
        if response[:1] == b"E":
            raise SystemExit(response.replace(b"\0", b" ").decode(errors="replace"))
        return response

    async def execute(self, statement, values=None):
        """Executes a statement with its own values, or with `values` if given. Returns the raw response."""
        if statement.is_simple:
            return await self.exchange(message(b"Q", string(statement.sql)))
        data, name = b"", self.names.get(statement.sql)
        if name is None:
            name = self.names[statement.sql] = f"s{len(self.names)}"
            types = struct.pack(f"!h{len(statement.types)}i", len(statement.types), *statement.types)
            await self.exchange(message(b"P", string(name) + string(statement.sql) + types) + message(b"S", b""))
        content = b"\0" + string(name)
        content += struct.pack(f"!h{len(statement.formats)}h", len(statement.formats), *statement.formats)
        values = statement.values if values is None else values
        content += struct.pack("!h", len(values))
        for value in values:
            content += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
        results = statement.result_formats
        content += struct.pack(f"!h{len(results)}h", len(results), *results)
        data += message(b"B", content) + message(b"E", b"\0" + struct.pack("!i", 0)) + message(b"S", b"")
        return await self.exchange(data)

    def close(self):
        self.transport.close()
