"""Replies of Midjourney servers, and the errors in them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from ..._errors import (
    AuthenticationError,
    ContentFilterError,
    ImagenError,
    InvalidRequestError,
    OutcomeUnknownError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from ..._system.retry_after import read_wait_seconds
from .._replies.decoding import MALFORMED, decode_json, one_line, outage, trace
from .._replies.error_text import quote_error
from .._steps import HttpResponse

__all__ = [
    "NAME",
    "Submitted",
    "Task",
    "code_of",
    "failure",
    "forgotten",
    "read_fraction",
    "read_submitted",
    "read_task",
    "refusal",
    "state_of",
    "text_of",
]

NAME = "The Midjourney server"
"""Name in messages: the operator of the server is unknown."""


class Submitted(msgspec.Struct):
    """Reply to a submission."""

    code: object = None
    description: object = None
    result: object = None
    # Gateways use OpenAI's form for their own refusals.
    error: object = None
    message: object = None


class Task(msgspec.Struct, rename="camel"):
    """State of a task."""

    status: object = None
    progress: object = None
    prompt: object = None
    prompt_en: object = None
    image_url: object = None
    image_urls: object = None
    fail_reason: object = None
    buttons: object = None


_decode_submitted = msgspec.json.Decoder(Submitted).decode
_decode_task = msgspec.json.Decoder(Task).decode

_STATES = ("not_start", "submitted", "in_progress", "modal", "success", "failure", "cancel")


def text_of(value: object) -> str:
    """Return a text unchanged; "" for anything else."""
    return value if isinstance(value, str) else ""


def read_submitted(response: HttpResponse) -> Submitted:
    """Read the reply to a submission; an empty one if unreadable."""
    try:
        return decode_json(_decode_submitted, response.body)
    except MALFORMED:
        return Submitted()


def read_task(response: HttpResponse) -> Task:
    """Read a task; an empty one if unreadable, which is the reply for an
    unknown id.
    """
    try:
        return decode_json(_decode_task, response.body)
    except MALFORMED:
        return Task()


def code_of(submitted: Submitted) -> int | None:
    """Return the code of a reply, also if it is a text."""
    code = submitted.code
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) < 6:
        return int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def state_of(task: Task) -> str:
    """Return the state in lower case; "" if there is none. An unknown state
    counts as in progress.
    """
    state = text_of(task.status).strip().casefold()
    return state if state in _STATES or not state else "in_progress"


def read_fraction(progress: object) -> float | None:
    """ "45%" as a share."""
    found = re.fullmatch(r"([0-9]{1,3})(?:\.[0-9]+)?%", text_of(progress).strip())
    return None if found is None or int(found[1]) > 100 else int(found[1]) / 100


# --- errors -------------------------------------------------------------------

_QUOTA = re.compile(
    r"(?i)subscription|credits exhausted|out of hours|pending mod message|blocked account|account"
    r" (?:is |was )?blocked"
    r"|quota|订阅|额度|余额|封禁"
)
_FILTERED = re.compile(r"(?i)banned|sensitive|blocked|moderat|content policy|敏感词|违禁|违规|审核")
_INVALID = re.compile(r"(?i)invalid parameter|invalid link|参数")
_BUSY = re.compile(r"(?i)\bqueue|\brate\b|rate.?limit|队列|限流|频繁")


def _by_words(said: str) -> type[ImagenError]:
    """Return the subject of a text. A blocked account is looked for first, as
    it does not concern the prompt.
    """
    for pattern, kind in (
        (_QUOTA, QuotaExceededError),
        (_FILTERED, ContentFilterError),
        (_INVALID, InvalidRequestError),
        (_BUSY, RateLimitError),
    ):
        if pattern.search(said):
            return kind
    return ProviderError


def failure(task: Task, task_id: str, state: str) -> ImagenError:
    """Return the error of a task without an image. Its billing is undocumented."""
    reason = one_line(task.fail_reason)
    details = {"task_id": task_id}
    if state == "cancel" or "取消" in reason or "cancel" in reason.casefold():
        return ProviderError(
            f"The task was cancelled at the server. {reason}".strip(),
            billed="unknown",
            details=details,
        )
    said = f"{NAME} says: {reason.rstrip('.')}." if reason else f"{NAME} does not say why."
    kind = _by_words(reason)
    if kind is ContentFilterError:
        return ContentFilterError(
            f"Midjourney refuses the prompt. {said} Change it; it may be billed.",
            billed="unknown",
            details=details,
        )
    if kind is InvalidRequestError:
        return InvalidRequestError(
            f"Midjourney does not take this prompt. {said}", code="INVALID_PROMPT", details=details
        )
    if kind is QuotaExceededError:
        return QuotaExceededError(f"The Midjourney account cannot draw. {said}", details=details)
    if kind is RateLimitError:
        return RateLimitError(f"Midjourney is busy. {said}", details=details)
    return ProviderError(
        f"Midjourney failed to make the image. {said} It may be billed; try once more.",
        retryable=True,
        billed="unknown",
        details=details,
    )


def forgotten(task_id: str) -> ImagenError:
    """The error of a task that was taken, and is not known any more."""
    return OutcomeUnknownError(
        f"{NAME} does not know the task {task_id} any more: it ran out, or the server was started"
        " anew; it may be billed.",
        details={"task_id": task_id},
    )


def refusal(response: HttpResponse, submitted: Submitted, code: int | None) -> ImagenError:
    """Return the error of a refused submission. A code in the body counts more
    than the HTTP status.
    """
    said = _said(submitted)
    details = trace(response) | ({} if code is None else {"code": str(code)})
    if code is not None and _by_words(said) is QuotaExceededError:
        return QuotaExceededError(f"The Midjourney account cannot draw. {said}", details=details)
    match code:
        case 3 | 9 if response.status >= 500:
            return _refusal_by_status(response, said, details)
        case 3:
            again = response.status != 404
            hint = "Try again later." if again else "It may have forgotten the task."
            return ProviderError(
                f"{said or f'{NAME} has no usable account.'} {hint}",
                retryable=again,
                details=details,
            )
        case 4:
            return InvalidRequestError(
                said or f"{NAME} does not take this.", code="INVALID_PROMPT", details=details
            )
        case 9:
            return ProviderError(
                f"{NAME} could not place the order. {said}".strip(), retryable=True, details=details
            )
        case 23:
            wait = read_wait_seconds(response.headers, said, response.body)
            return RateLimitError(
                f"The queue is full. {said}".strip(), retry_after_seconds=wait, details=details
            )
        case 24:
            return ContentFilterError(
                f"{NAME} refuses the prompt. {said} Change it.", details=details
            )
        case 30:
            return QuotaExceededError(
                f"The account has no allowance left. {said}".strip(), details=details
            )
        case None:
            return _refusal_by_status(response, said, details)
        case _ if response.status < 300:
            return _refusal_by_words(said, code, details)
        case _:
            return _refusal_by_status(response, said, details)


def _refusal_by_words(said: str, code: int | None, details: Mapping[str, str]) -> ImagenError:
    """Return the error of an undocumented code."""
    kind = _by_words(said)
    text = said or f"{NAME} answered with the code {code}."
    if kind is ProviderError:
        return ProviderError(f"{text} It may be billed.", billed="unknown", details=details)
    return kind(
        text, code="INVALID_PROMPT" if kind is InvalidRequestError else None, details=details
    )


def _refusal_by_status(
    response: HttpResponse, said: str, details: Mapping[str, str]
) -> ImagenError:
    said = said or (quote_error(response, NAME) if response.body else "")
    match response.status:
        case 401 | 403:
            return AuthenticationError(
                f"{NAME} does not accept the key. {said} Check MIDJOURNEY_API_SECRET, or use the"
                " provider midjourney_gateway for one that wants a Bearer token.",
                details=details,
            )
        case 402:
            return QuotaExceededError(
                f"The account has no allowance left. {said}".strip(), details=details
            )
        case 404:
            return ProviderError(
                f"{NAME} has no such route. {said} Not every server has every operation; check the"
                " base URL.",
                details=details,
            )
        case 429:
            wait = read_wait_seconds(response.headers, said, response.body)
            return RateLimitError(
                f"{NAME} is busy. {said}".strip(), retry_after_seconds=wait, details=details
            )
        case status if status >= 500 or status == 408:
            return outage(response, NAME, said, details)
        case status if status >= 400:
            return InvalidRequestError(
                said or f"{NAME} answered {status}.", code="API_ERROR", details=details
            )
        case status if status >= 300:
            return ProviderError(
                f"{NAME} redirects to another address, which is not followed.", details=details
            )
        case _:
            return ProviderError(
                f"{NAME} replied in an unknown form; it may have been billed. {said}".strip(),
                billed="unknown",
                details=details,
            )


def _said(submitted: Submitted) -> str:
    error = submitted.error
    inner = error.get("message") if isinstance(error, dict) else error
    text = one_line(submitted.description) or one_line(inner) or one_line(submitted.message)
    return f"{NAME} says: {text.rstrip('.')}." if text else ""
