"""A server that reads requests and never answers. When all connections have
been closed it prints how many there were, and when the last one ended.
"""

from __future__ import annotations

import argparse
import selectors
import socket
import time

_LIMIT_SECONDS = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    asked: set[socket.socket] = set()
    ended = 0
    with (
        socket.create_server(("127.0.0.1", port), backlog=1024) as listener,
        selectors.DefaultSelector() as selector,
    ):
        selector.register(listener, selectors.EVENT_READ)
        gives_up_at = time.monotonic() + _LIMIT_SECONDS
        while time.monotonic() < gives_up_at:
            for key, _ in selector.select(1.0):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if connection is listener:
                    selector.register(listener.accept()[0], selectors.EVENT_READ)
                elif _receives(connection):
                    asked.add(connection)
                else:
                    selector.unregister(connection)
                    connection.close()
                    # One that asked nothing only looked if the server is there.
                    ended += connection in asked
            if ended and ended == len(asked):
                print(ended, time.monotonic_ns(), flush=True)
                return


def _receives(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(65536))
    except ConnectionResetError:
        return False


if __name__ == "__main__":
    main()
