"""Names of attributes and metrics, in one place as the GenAI conventions of
OpenTelemetry still move. `docs/operations.md` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["OPERATION", "OUTPUT", "PROVIDERS", "SECONDS_BUCKETS"]

# An image takes up to minutes: the buckets of the conventions end at 82 s.
SECONDS_BUCKETS: Final = (0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600)

OPERATION: Final = "generate_content"
OUTPUT: Final = "image"
# Names that the conventions have for providers; others keep their own.
PROVIDERS: Final[Mapping[str, str]] = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}

# --- attributes of the conventions ---------------------------------------------

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
OUTPUT_TYPE: Final = "gen_ai.output.type"
CHOICE_COUNT: Final = "gen_ai.request.choice.count"
SEED: Final = "gen_ai.request.seed"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_TYPE: Final = "gen_ai.token.type"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
HTTP_STATUS: Final = "http.response.status_code"

# --- attributes of our own -----------------------------------------------------

ATTEMPT_ID: Final = "imagen.attempt.id"
BATCH_ID: Final = "imagen.batch.id"
IMAGEN_OPERATION: Final = "imagen.operation"
TRY_NUMBER: Final = "imagen.try.number"
TRY_REASON: Final = "imagen.try.reason"
TAG: Final = "imagen.tag"
STATE: Final = "imagen.attempt.state"
RESERVED_USD: Final = "imagen.cost.reserved_usd"
COST_USD: Final = "imagen.cost.usd"
COST_SOURCE: Final = "imagen.cost.source"
BILLED: Final = "imagen.billed"
IMAGES: Final = "imagen.images"
PROVIDER_REQUEST_ID: Final = "imagen.provider.request_id"

# --- metrics ---------------------------------------------------------------------

DURATION: Final = "gen_ai.client.operation.duration"
USAGE: Final = "gen_ai.client.token.usage"
FIRST_IMAGE: Final = "imagen.client.first_image.duration"
WAIT: Final = "imagen.client.wait.duration"
COST: Final = "imagen.client.cost"
MADE_IMAGES: Final = "imagen.client.images"
MADE_BYTES: Final = "imagen.client.image.size"
ATTEMPTS: Final = "imagen.client.attempts"
IN_FLIGHT: Final = "imagen.client.attempts.in_flight"
WAITING: Final = "imagen.client.attempts.waiting"
RETRIES: Final = "imagen.client.retries"
CACHE_HITS: Final = "imagen.client.cache.hits"
BREAKER_OPEN: Final = "imagen.client.breaker.open"
