"""ComfyUI's server, as of source a125cd84 (2025-10-12) and its documentation of
2026-08-21: /prompt, /history, /queue, /ws ...

Graphs are really run, by simple nodes (`_comfyui_nodes.py`), one at a time.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec
import pybase64

from ..._core.edits import ImageError, open_image
from ..._core.faults import (
    Decline,
    ExpiredLink,
    JobFails,
    NotAllowed,
    Overloaded,
    RateLimited,
    ServerError,
)
from ..._core.forms import FormError, parse_form
from ..._core.jobs import Job, RemoteJob
from ..._core.messages import Kind, Reply, Socket, Submission, json_reply, text_reply
from .nodes import CHECKPOINTS, NODES, OUTPUTS, UPSCALERS, Node, Saved, execute, find_faults

if TYPE_CHECKING:
    from wsproto.events import BytesMessage, TextMessage

    _Events = Callable[[float], Iterator[TextMessage | BytesMessage | None]]

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STEPS = 20
_MODELS = {"checkpoints": CHECKPOINTS, "upscale_models": UPSCALERS}
_UPLOAD = "upload "


class _Work:
    """Graph in the queue; calling it runs it."""

    def __init__(
        self,
        job: Job,
        graph: Mapping[str, Node],
        client_id: str,
        number: int,
        extra_data: Mapping[str, object],
    ) -> None:
        self.graph = graph
        self.extra_data = extra_data
        self.client_id = client_id
        self.number = number
        self.deleted = False
        self._job = job

    def __call__(self) -> list[Saved]:
        return execute(self._job, self.graph, _uploads(self._job))


class ComfyUI(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated server.

    Args:
        sockets: whether it has a WebSocket at /ws.
        breaks_socket: whether the socket is closed as soon as a job has begun.
        takes_ids: whether a client may choose the id of its job; older ones
            choose it themselves.
        checkpoints: the files in its folder.
        forgets: whether a job is gone without a trace when it should be ready,
            as after a restart.
    """

    sockets: bool = True
    breaks_socket: bool = False
    takes_ids: bool = True
    checkpoints: tuple[str, ...] = CHECKPOINTS
    forgets: bool = False
    name: str = "comfyui"
    base_path: str = ""

    def kind(self, method: str, path: str) -> Kind:
        if method == "POST":
            kinds: dict[str, Kind] = {
                "/prompt": "create",
                "/upload/image": "upload",
                "/queue": "cancel",
            }
            return kinds.get(path, "cancel" if path == "/interrupt" else "other")
        if path.startswith("/models/"):
            return "list"
        return (
            "download"
            if path == "/view"
            else "poll"
            if path.startswith(("/history/", "/queue"))
            else "other"
        )

    def answer(self, job: Job) -> Reply | Submission | Socket:
        match job.received.method, job.path:
            case "POST", "/prompt":
                return self._prompt(job)
            case "POST", "/upload/image":
                return _upload(job)
            case "POST", "/queue":
                for id in _listed(_body(job).get("delete")):
                    remote = job.remote.find(str(id))
                    if remote is not None and job.now < remote.started_at:
                        _work_of(remote).deleted = True
                return Reply(status=200)
            case "POST", "/interrupt":
                remote = job.remote.find(str(_body(job).get("prompt_id")))
                if remote is not None and remote.started_at <= job.now < remote.ready_at:
                    remote.cancelled, remote.ready_at = True, job.now
                return Reply(status=200)
            case "GET", "/queue":
                return self._queue(job)
            case "GET", "/view":
                return self._view(job)
            case "GET", "/ws" if self.sockets:
                return self._listen(job)
            case "GET", "/system_stats":
                return json_reply({"system": {"os": "posix"}, "devices": []})
            case "GET", path if path.startswith("/history/"):
                return self._history(job, path.removeprefix("/history/"))
            case "GET", path if path.removeprefix("/models/") in _MODELS:
                listed = {**_MODELS, "checkpoints": self.checkpoints}
                return json_reply(list(listed[path.removeprefix("/models/")]))
            case _:
                return text_reply("404: Not Found", status=404)

    def decline(self, job: Job, fault: Decline) -> Reply:
        """A self-hosted server only fails; the other errors are those of a
        proxy in front.
        """
        match fault:
            case ServerError():
                return text_reply("500 Internal Server Error", status=500)
            case NotAllowed():
                return text_reply("403 Forbidden", status=403)
            case Overloaded():
                return text_reply("503 Service Unavailable", status=503)
            case RateLimited(wait_seconds=wait):
                return json_reply({}, status=429, headers=(("retry-after", f"{wait:g}"),))
            case _:
                return text_reply("400 Bad Request", status=400)

    # --- jobs -----------------------------------------------------------------

    def _prompt(self, job: Job) -> Reply | Submission:
        body = _body(job)
        if unknown := body.keys() - {
            "prompt",
            "client_id",
            "prompt_id",
            "number",
            "front",
            "extra_data",
        }:
            return _refused("invalid_prompt", f"Unknown field {min(unknown)}")
        graph = body.get("prompt")
        if not isinstance(graph, dict) or not graph:
            return _refused("no_prompt", "No prompt provided")
        for node_id, node in graph.items():
            if not isinstance(node, dict) or node.get("class_type") not in NODES:
                return _refused(
                    "invalid_prompt", f"Cannot execute because node {node_id} does not exist"
                )
        if not any(node["class_type"] in OUTPUTS for node in graph.values()):
            return _refused("prompt_no_outputs", "Prompt has no outputs")
        if faults := find_faults(graph, _uploads(job)):
            errors = {
                id: {
                    "errors": found,
                    "dependent_outputs": [],
                    "class_type": graph[id]["class_type"],
                }
                for id, found in faults.items()
            }
            return _refused(
                "prompt_outputs_failed_validation", "Prompt outputs failed validation", errors
            )
        number = len(_jobs(job))
        extra = body.get("extra_data")
        work = _Work(
            job,
            graph,
            str(body.get("client_id", "")),
            number,
            extra if isinstance(extra, dict) else {},
        )
        own = body.get("prompt_id") if self.takes_ids else None
        earlier = [other.ready_at for other in _jobs(job) if not _work_of(other).deleted]
        remote = job.remote.submit(job, work, id=own if isinstance(own, str) else None)
        waits = max([*earlier, job.now]) - job.now
        remote.started_at, remote.ready_at = remote.started_at + waits, remote.ready_at + waits
        usd = Decimal(0) if job.usd_per_image is None else job.usd_per_image
        reply = json_reply({"prompt_id": remote.id, "number": number, "node_errors": {}})
        return Submission(model="comfyui", images=1, usd=usd, reply=reply)

    def _history(self, job: Job, id: str) -> Reply:
        remote = job.remote.find(id)
        if remote is None or job.now < remote.ready_at or _work_of(remote).deleted or self.forgets:
            return json_reply({})
        messages: list[object] = [["execution_start", {"prompt_id": id, "timestamp": 1}]]
        outputs: dict[str, dict[str, list[object]]] = {}
        ended, told = _end(remote)
        messages.append([ended, told])
        if ended == "execution_success":
            for file in _files(remote):
                place = {"filename": file.name, "subfolder": "", "type": file.saved.kind}
                outputs.setdefault(file.saved.node_id, {"images": []})["images"].append(place)
        status = "success" if ended == "execution_success" else "error"
        told_status = {"status_str": status, "completed": status == "success", "messages": messages}
        past = {"prompt": _ordered(remote), "outputs": outputs, "status": told_status}
        return json_reply({id: {**past, "meta": {}}})

    def _queue(self, job: Job) -> Reply:
        jobs = [remote for remote in _jobs(job) if not _work_of(remote).deleted]
        entries = {remote.id: _ordered(remote) for remote in jobs}
        running = [
            entries[remote.id] for remote in jobs if remote.started_at <= job.now < remote.ready_at
        ]
        pending = [entries[remote.id] for remote in jobs if job.now < remote.started_at]
        # The newest first, so that no client relies on the order.
        return json_reply({"queue_running": running, "queue_pending": pending[::-1]})

    def _view(self, job: Job) -> Reply:
        asked = {name: values[-1] for name, values in parse_qs(job.received.query).items()}
        for remote in _jobs(job):
            if job.now < remote.ready_at or _work_of(remote).deleted:
                continue
            for file in _files(remote) if _end(remote)[0] == "execution_success" else ():
                if file.name == asked.get("filename") and file.saved.kind == asked.get("type"):
                    if isinstance(remote.fault, ExpiredLink):
                        return text_reply("", status=remote.fault.status)
                    if not file.saved.data.startswith(b"<"):
                        job.collected(remote)
                    return Reply(
                        headers=(("content-type", "image/png"),), pieces=(file.saved.data,)
                    )
        return text_reply("404: Not Found", status=404)

    # --- the socket -----------------------------------------------------------

    def _listen(self, job: Job) -> Reply | Socket:
        # An extra: a simulator of other services does without.
        from wsproto.connection import SERVER, Connection
        from wsproto.events import CloseConnection

        headers = job.received.headers
        key = headers.get("sec-websocket-key", "")
        client_id = parse_qs(job.received.query).get("clientId", [""])[-1]
        shaken = (
            headers.get("upgrade") == "websocket" and headers.get("sec-websocket-version") == "13"
        )
        try:
            shaken = shaken and len(pybase64.b64decode(key, validate=True)) == 16
        except ValueError:
            shaken = False
        if not shaken or "upgrade" not in headers.get("connection", "").lower():
            return text_reply("No WebSocket UPGRADE hdr", status=400)
        accept = pybase64.b64encode_as_string(hashlib.sha1(key.encode() + _GUID.encode()).digest())  # noqa: S324
        connection = Connection(SERVER)
        events = self._events(job, client_id)

        def pull(now: float) -> bytes | None:
            sent = b""
            for event in events(now):
                if event is None:
                    return None if not sent else sent + connection.send(CloseConnection(code=1001))
                sent += connection.send(event)
            return sent

        head = (
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", accept),
        )
        return Socket(headers=head, pull=pull)

    def _events(self, job: Job, client_id: str) -> "_Events":
        """Yield the events between two polls as messages; None closes the
        socket.
        """
        from wsproto.events import BytesMessage

        greeted = False
        steps: dict[str, int] = {}
        broken = False

        def events(now: float) -> "Iterator[TextMessage | BytesMessage | None]":
            nonlocal greeted, broken
            if broken:
                yield None
                return
            if not greeted:
                greeted = True
                exec_info = {"exec_info": {"queue_remaining": 0}}
                yield _message("status", {"status": exec_info, "sid": client_id})
            for remote in _jobs(job):
                if _work_of(remote).client_id != client_id or _work_of(remote).deleted:
                    continue
                if remote.id not in steps:
                    steps[remote.id] = -1
                    waiting = sum(now < other.ready_at for other in _jobs(job))
                    yield _message(
                        "status", {"status": {"exec_info": {"queue_remaining": waiting}}}
                    )
                if now < remote.started_at or steps[remote.id] > _STEPS:
                    continue
                named = {"prompt_id": remote.id}
                if steps[remote.id] < 0:
                    steps[remote.id] = 0
                    yield _message("execution_start", {**named, "timestamp": 1})
                    yield _message("execution_cached", {**named, "nodes": []})
                    yield _message("executing", {**named, "node": "5"})
                    if self.breaks_socket:
                        broken = True
                        return
                done = int(_STEPS * remote.progress(now))
                if done > steps[remote.id]:
                    steps[remote.id] = done
                    yield _message("progress", {**named, "value": done, "max": _STEPS, "node": "5"})
                    yield BytesMessage(
                        data=struct.pack(">II", 1, 1) + job.draw(64, 64, format="jpeg")
                    )
                if now >= remote.ready_at:
                    steps[remote.id] = _STEPS + 1
                    ended, told = _end(remote)
                    yield _message(ended, told)
                    yield _message("executing", {**named, "node": None})

        return events


class _File(msgspec.Struct, frozen=True):
    name: str
    saved: Saved


def _files(remote: RemoteJob) -> list[_File]:
    saved = remote.painted()
    assert isinstance(saved, list)
    number = _work_of(remote).number
    return [_File(f"ComfyUI {number}&{at:05}_.png", item) for at, item in enumerate(saved, 1)]


def _end(remote: RemoteJob) -> tuple[str, dict[str, object]]:
    """The last message of a job that has ended."""
    told: dict[str, object] = {"prompt_id": remote.id, "timestamp": 2}
    if remote.cancelled:
        return "execution_interrupted", {
            **told,
            "node_id": "5",
            "node_type": "KSampler",
            "executed": [],
        }
    if isinstance(remote.fault, JobFails):
        memory = "memory" in remote.fault.text
        return "execution_error", {
            **told,
            "node_id": "5",
            "node_type": "KSampler",
            "exception_type": "torch.OutOfMemoryError" if memory else "RuntimeError",
            "exception_message": remote.fault.text,
            "traceback": [],
        }
    return "execution_success", told


def _ordered(remote: RemoteJob) -> list[object]:
    """Return a queue entry: number, id, graph, extra data, output nodes."""
    work = _work_of(remote)
    outputs = [node_id for node_id, node in work.graph.items() if node["class_type"] in OUTPUTS]
    return [work.number, remote.id, work.graph, work.extra_data, outputs]


def _work_of(remote: RemoteJob) -> _Work:
    assert isinstance(remote.paint, _Work)
    return remote.paint


def _jobs(job: Job) -> list[RemoteJob]:
    return [remote for remote in job.remote.all() if not remote.id.startswith(_UPLOAD)]


def _uploads(job: Job) -> dict[str, bytes]:
    found = (
        (remote.id, remote.painted())
        for remote in job.remote.all()
        if remote.id.startswith(_UPLOAD)
    )
    return {id.removeprefix(_UPLOAD): data for id, data in found if isinstance(data, bytes)}


def _upload(job: Job) -> Reply:
    try:
        texts, files = parse_form(job.received.headers, job.received.body)
        (file,) = files["image"]
        open_image(file.data)
    except (FormError, KeyError, ValueError, ImageError):
        return text_reply("400 Bad Request", status=400)
    if (
        texts.get("type", ["input"]) != ["input"]
        or texts.get("overwrite") != ["true"]
        or "/" in file.filename
    ):
        return text_reply("400 Bad Request", status=400)
    data = file.data
    job.remote.submit(job, lambda: data, id=f"{_UPLOAD}{file.filename}")
    return json_reply({"name": file.filename, "subfolder": "", "type": "input"})


def _body(job: Job) -> dict[str, object]:
    try:
        return msgspec.json.decode(job.received.body or b"{}", type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _refused(kind: str, message: str, node_errors: Mapping[str, object] | None = None) -> Reply:
    error = {"type": kind, "message": message, "details": "", "extra_info": {}}
    return json_reply({"error": error, "node_errors": node_errors or {}}, status=400)


def _message(kind: str, data: Mapping[str, object]) -> "TextMessage":
    from wsproto.events import TextMessage

    return TextMessage(data=msgspec.json.encode({"type": kind, "data": data}).decode())


SIMULATED = (ComfyUI(),)
