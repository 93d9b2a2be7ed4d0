"""Canned replies from Python: in place of nginx where there is none, and for
`latency`, which must know when a reply ended.
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import ssl
import threading
import time

from .replies import SIZES, UNIQUE_CHARACTERS, split_reply

_PAUSE_SECONDS = 0.005


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--certificate", help="a file with key and certificates: speak TLS")
    parser.add_argument(
        "--tell-last-byte",
        action="store_true",
        help="hold back each last byte, and print when it left",
    )
    options = parser.parse_args()
    context: ssl.SSLContext | None = None
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate)
    replies = {size: split_reply(size) for size in SIZES}
    listener = socket.create_server(("127.0.0.1", options.port), backlog=1024)
    for _ in range(options.processes - 1):
        if os.fork() == 0:
            break
    parent = os.getppid()
    # A forked process is not ended by others: it ends with the one it came
    # from.
    listener.settimeout(0.5)
    while os.getppid() == parent:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        arguments = (connection, context, replies, options.tell_last_byte)
        threading.Thread(target=_converse, args=arguments, daemon=True).start()


def _converse(
    connection: socket.socket,
    context: ssl.SSLContext | None,
    replies: dict[str, tuple[str, bytes]],
    tell: bool,
) -> None:
    try:
        connection.settimeout(60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with (
            connection if context is None else context.wrap_socket(connection, server_side=True)
        ) as stream:
            received = b""
            while chunk := stream.recv(65536):
                received += chunk
                if (request := _whole_request(received)) is None:
                    continue
                path, received = request
                _answer(stream, *replies[path.split("/")[1]], tell)
    except OSError:
        pass


def _whole_request(received: bytes) -> tuple[str, bytes] | None:
    """Path and what follows the request; None while it is incomplete."""
    head, end, rest = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields.get(b"content-length", 0))
    if not end or len(rest) < length:
        return None
    return head.split(b" ", 2)[1].decode(), rest[length:]


def _answer(stream: socket.socket, head: str, tail: bytes, tell: bool) -> None:
    length = len(head) + UNIQUE_CHARACTERS + len(tail)
    start = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:"
        f" {length}\r\n\r\n{head}"
    )
    stream.sendall(start.encode() + secrets.token_hex(UNIQUE_CHARACTERS // 2).encode())
    if not tell:
        stream.sendall(tail)
        return
    stream.sendall(tail[:-1])
    # Until then the client has taken in everything else.
    time.sleep(_PAUSE_SECONDS)
    print(time.monotonic_ns(), flush=True)
    stream.sendall(tail[-1:])


if __name__ == "__main__":
    main()
