"""A hub on this machine that refuses in several ways; run as a module, it says
what becomes of each of them.

In a process of its own, since huggingface_hub reads its address when it is
imported.
"""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SHA = "0" * 40
ANSWERS = {
    "unknown": (
        401,
        {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Invalid username or password."},
    ),
    "private": (404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}),
    "wrong-token": (401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
    "no-such-revision": (
        404,
        {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"},
    ),
    "gated": (
        403,
        {
            "X-Error-Code": "GatedRepo",
            "X-Error-Message": "Access to model acme/gated is restricted.",
        },
    ),
    "broken": (500, {}),
}


class Hub(BaseHTTPRequestHandler):
    """Answers by the name of the repository. What there is about a gated one
    may be seen, and its files may not.
    """

    def do_GET(self) -> None:
        name = next(name for name in ANSWERS if f"/{name}" in self.path)
        status, headers = ANSWERS[name]
        body = b"{}"
        if name == "gated" and "/api/" in self.path:
            status, headers = 200, {}
            body = json.dumps(
                {"id": "acme/gated", "sha": SHA, "siblings": [{"rfilename": "model_index.json"}]}
            ).encode()
        self.send_response(status)
        for header in headers.items():
            self.send_header(*header)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"

    import imagen
    from tests.support.diffusers.fakes import ask

    def outcome(name: str) -> list[object]:
        request = imagen.Generate(prompt="a cat")
        try:
            ask(request, wire={"repository": f"acme/{name}"}, settings={"device": "cpu"})
        except imagen.ImagenError as error:
            return [type(error).__name__, error.retryable, error.message]
        raise AssertionError("there is no such image")

    told = {name: outcome(name) for name in ANSWERS}
    server.shutdown()
    server.server_close()
    print(json.dumps(told | {"closed": outcome("closed")}))


if __name__ == "__main__":
    main()
