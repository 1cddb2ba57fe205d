"""A small RFC 6455 client for the tests, which can also send what no honest client sends."""
import base64
import hashlib
import os
import re
import socket
import ssl
import struct

import openapi
from appliance import LIMIT

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY, CLOSE, PING, PONG = 0x82, 0x88, 0x89, 0x8A


def frame(first, payload=b"", mask=b"\x01\x02\x03\x04", length=None):
    """`first`: FIN, RSV and opcode. `length`: the length in the header, if it is to be wrong."""
    n = len(payload) if length is None else length
    size = struct.pack(">B", 0x80 | n) if n < 126 else struct.pack(">BH", 0xFE, n) if n < 65536 else struct.pack(">BQ", 0xFF, n)
    return bytes([first]) + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


class WebSocket:
    def __init__(self, m, path, protocols="bulkhead.console", headers="", tls=False):
        """Sends the machine's token in the subprotocols, as browsers must; if none are offered, in the Authorization header."""
        if protocols and m.token:
            protocols += f", bearer.{m.token}"
        elif m.token:
            headers += f"Authorization: Bearer {m.token}\r\n"
        self.socket = socket.create_connection(("127.0.0.1", m.https_port if tls else m.port), timeout=LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = ssl._create_unverified_context().wrap_socket(self.socket)
        self.input = self.socket.makefile("rb")
        self.key = base64.b64encode(os.urandom(16)).decode()
        offer = f"Sec-WebSocket-Protocol: {protocols}\r\n" if protocols else ""
        self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                  f"Sec-WebSocket-Key: {self.key}\r\n{offer}{headers}\r\n".encode())
        self.status = int(self.input.readline().split()[1])
        self.headers = {}
        while (line := self.input.readline()) != b"\r\n":
            name, value = line.decode().rstrip("\r\n").split(": ", 1)
            self.headers[name.lower()] = value
        openapi.check_answer("GET", path, self.status, self.headers, None)
        self.seen = b""  # of the console
        self.pongs = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.input.close()
        self.socket.close()

    def accepted(self):
        want = base64.b64encode(hashlib.sha1((self.key + GUID).encode()).digest()).decode()
        return self.status == 101 and self.headers["sec-websocket-accept"] == want and self.headers["upgrade"] == "websocket"

    def send(self, data):
        self.socket.sendall(data)

    def type(self, data):
        self.send(frame(BINARY, data))

    def read(self):
        """(first byte, payload) of the next frame; None once the connection ends."""
        try:
            head = self.input.read(2)
            if len(head) < 2:
                return None
            n = head[1]
            assert n < 128, "a server does not mask"
            if n == 126:
                n = struct.unpack(">H", self.input.read(2))[0]
            return head[0], self.input.read(n)
        except ConnectionResetError:
            return None

    def until(self, pattern):
        """Reads until the console's output matches."""
        while not re.search(pattern, self.seen):
            first, payload = self.read()
            assert first in (BINARY, PONG, PING), (hex(first), payload, self.seen[-200:])
            if first == BINARY:
                self.seen += payload
            elif first == PONG:
                self.pongs.append(payload)
            else:  # this computer is so slow that nothing has come for 15 seconds of the machine's time
                self.send(frame(PONG, payload))

    def closed(self):
        """Waits for the connection's end; returns the close code (0: none given). None: it ended without a close frame."""
        asked = 0
        while (got := self.read()) is not None:
            first, payload = got
            asked += first == PING  # once may be before it was told
            assert asked < 2, "it does not close: nothing has come for 15 seconds"
            if first == CLOSE:
                assert self.read() is None
                return struct.unpack(">H", payload[:2])[0] if payload else 0
        return None
