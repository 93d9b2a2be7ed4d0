"""The nexos.ai gateway: POST /images/generations and GET /models, as of
2026-11-22.

No recorded reply of this API is public: shapes follow its specification,
https://docs.nexos.ai/gateway-api/images
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from .._core.faults import (
    Decline,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    ServerError,
)
from .._core.fields import BadRequestError, Fields, error_reply
from .._core.jobs import Job
from .._core.messages import Drawing, Kind, Reply, json_reply, text_reply

_FIELDS = frozenset(("prompt", "model", "n", "quality", "response_format", "size", "style"))
_SIZES = ("256x256", "512x512", "1024x1024", "1792x1024", "1024x1792")
_MODEL_NOT_FOUND = 100110
_NOT_ALLOWED = 110014


class NexosModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the workspace. Only the UUID is unique; two models may share
    a name.
    """

    name: str
    uuid: str
    owned_by: str = "openai"
    endpoints: tuple[str, ...] = ("image_generation",)

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.name,
            "nexos_model_id": self.uuid,
            "object": "model",
            "created": 1_760_000_000,
            "updated": 1_760_000_000,
            "owned_by": self.owned_by,
            "name": self.name,
            "timeout_ms": 60_000,
            "stream_timeout_ms": 300_000,
            "pricing": {"input_cost_per_token": "0.000001"},
            "endpoints": list(self.endpoints),
        }


def _uuid(number: int) -> str:
    return f"5a3c1e70-0000-4000-8000-{number:012d}"


NEXOS_MODELS = (
    NexosModel(name="Imagen 4", uuid=_uuid(1), owned_by="google"),
    NexosModel(name="Imagen 4 Fast", uuid=_uuid(2), owned_by="google"),
    NexosModel(name="Imagen 4 Ultra", uuid=_uuid(3), owned_by="google"),
    NexosModel(name="Flux 1.1 pro", uuid=_uuid(4), owned_by="black-forest-labs"),
    NexosModel(name="GPT Image 1", uuid=_uuid(5)),
    NexosModel(name="GPT Image 1 mini", uuid=_uuid(6)),
    NexosModel(name="DALL-E 3", uuid=_uuid(7)),
    NexosModel(name="GPT 4.1", uuid=_uuid(8), endpoints=("chat_completion", "responses")),
    NexosModel(
        name="Claude Sonnet 4.5",
        uuid=_uuid(9),
        owned_by="anthropic",
        endpoints=("chat_completions",),
    ),
)


class Nexos(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated gateway.

    Args:
        models: those that the workspace's administrator enabled.
        credits_per_image: if given, replies carry `usage.nexos_credits_cost`
            (not known of real ones).
        unknown_model_status: 400 or 404; which one the real gateway uses is not
            known.
    """

    models: Sequence[NexosModel] = NEXOS_MODELS
    credits_per_image: Decimal | None = None
    unknown_model_status: int = 404
    name: str = "nexos"
    base_path: str = "/v1"

    def kind(self, method: str, path: str) -> Kind:
        if path == "/images/generations" and method == "POST":
            return "create"
        return "list" if path == "/models" and method == "GET" else "other"

    def answer(self, job: Job) -> Reply | Drawing:
        headers = job.received.headers
        if headers.get("user-agent", "").startswith("Python-urllib"):
            # The network in front of the gateway looks at the client before the
            # gateway looks at the key.
            return text_reply("error code: 1010", status=403)
        if _key(headers) != job.key:
            return error_reply("The API key is missing or wrong.", status=401)
        kind = self.kind(job.received.method, job.path)
        if kind == "list":
            listed = [model.as_json() for model in self.models]
            return json_reply({"object": "list", "data": listed, "total": len(listed)})
        if kind != "create":
            return error_reply("There is no such endpoint.", status=404)
        try:
            return self._create(job)
        except BadRequestError as refusal:
            return refusal.reply

    def decline(self, job: Job, fault: Decline) -> Reply:
        match fault:
            case RateLimited(wait_seconds=wait, told=told):
                text = (
                    f"Too many requests. Please try again in {wait:g}s."
                    if told == "text"
                    else "Too many requests."
                )
                # No Retry-After is documented for the gateway; a test that asks
                # for it gets it.
                headers = (("retry-after", f"{wait:.0f}"),) if told == "header" else ()
                return error_reply(text, status=429, kind="rate_limit_error", headers=headers)
            case QuotaExhausted():
                return error_reply("Out of credits.", status=402, kind="insufficient_quota")
            case Overloaded():
                return error_reply(
                    "The model is not available at the moment.", status=503, kind="server_error"
                )
            case NotAllowed():
                return _own_error(_NOT_ALLOWED, "Action is not allowed", status=403)
            case Refused():
                text = "The prompt was rejected by the safety system."
                return error_reply(text, status=400, code="content_policy_violation")
            case _:
                assert isinstance(fault, ServerError), fault
                return error_reply("Internal error.", status=500, kind="server_error")

    def _create(self, job: Job) -> Reply | Drawing:
        fields = Fields(job.received.body)
        fields.refuse_unknown(_FIELDS)
        prompt = fields.prompt()
        asked = fields.text("model", required=True)
        model = next((model for model in self.models if asked in (model.uuid, model.name)), None)
        if model is None or "image_generation" not in model.endpoints:
            return _own_error(_MODEL_NOT_FOUND, "Model not found", status=self.unknown_model_status)
        images = job.count(fields.integer("n", 1, 1 if model.name == "DALL-E 3" else 10, 1))
        fields.choice("quality", ("standard", "hd"), "standard")
        linked = fields.choice("response_format", ("url", "b64_json"), "url") == "url"
        width, height = map(int, fields.choice("size", _SIZES, "1024x1024").split("x"))
        fields.choice("style", ("vivid", "natural"), "vivid")

        def paint() -> Reply:
            data = []
            for _ in range(images):
                content = job.draw(width, height)
                where = (
                    {"url": job.as_link(content)}
                    if linked
                    else {"b64_json": job.as_base64(content)}
                )
                data.append({**where, "revised_prompt": prompt})
            payload: dict[str, object] = {"created": job.created, "data": data}
            if self.credits_per_image is not None:
                payload["usage"] = {"nexos_credits_cost": images * self.credits_per_image}
            return json_reply(
                payload, headers=(("x-nexos-model-id", model.uuid), ("x-nexos-cache", "miss"))
            )

        usd = images * (job.usd_per_image or Decimal(0))
        return Drawing(model=model.name, images=images, usd=usd, paint=paint)


def _key(headers: dict[str, str]) -> str:
    bearer = headers.get("authorization", "")
    if bearer.startswith("Bearer "):
        return bearer.removeprefix("Bearer ")
    return headers.get("x-nexos-key") or headers.get("x-api-key", "")


def _own_error(code: int, message: str, *, status: int) -> Reply:
    """The gateway's own envelope, with a numeric code."""
    return json_reply({"error": {"code": code, "message": message}}, status=status)


SIMULATED = (Nexos(),)
