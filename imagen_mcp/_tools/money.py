"""Cost of images: the estimate, the limit of a call, and the user's consent.

The library asks for consent when a batch begins. A session begins in the
background, maybe after its tool has returned. So the façade asks before it
starts a session, and its client is opened without a limit.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated, NamedTuple

from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp_types.version import is_version_at_least
from pydantic import Field

import imagen

from .._context import ToolContext, client_of, current_state
from .._results.generation import CostReply
from .._results.text import dollars, spoken

__all__ = ["ConfirmCost", "Limits", "MaxCost", "New", "ask_first", "estimate", "noting_retirement"]

MaxCost = Annotated[
    float | None,
    Field(ge=0, description="Make nothing if all together may cost more US dollars."),
]
ConfirmCost = Annotated[
    bool, Field(description="True once the user agreed to the cost that an answer named.")
]

New = Annotated[bool, Field(description="Make more although an equal request runs.")]

# From this version on a server asks by its result, and the client calls again
# with the user's reply.
_ASKS_BY_ANSWER = "2026-07-28"
_QUESTION = "cost"


class Limits(NamedTuple):
    """Money limits of a call; `new` if an equal one that runs does not do."""

    max_cost_usd: float | None = None
    confirmed: bool = False
    new: bool = False

    @property
    def budget(self) -> imagen.Budget | None:
        """Budget of the images that the call starts."""
        return None if self.max_cost_usd is None else imagen.Budget(str(self.max_cost_usd))


async def ask_first(
    ctx: ToolContext, request: imagen.Request, count: int, limits: Limits
) -> InputRequiredResult | None:
    """Return None if the images may be made, else the result that has the
    client ask its user.

    Raises:
        BudgetExceededError: the user refused, or only the assistant can ask.
    """
    shop = current_state()
    if limits.max_cost_usd is None and shop.confirm_above_usd is None:
        return None
    with noting_retirement():
        reply = estimate(ctx, request, count)
    if (budget := limits.budget) is not None and not _fits(reply, budget.limit_usd):
        raise imagen.BudgetExceededError(
            f"{_describe(reply)}, and max_cost_usd is {spoken(budget.limit_usd)}; nothing was sent."
            " Ask for fewer images, a lower quality or another model."
        )
    if not reply.needs_confirmation:
        return None
    if _can_ask(ctx):
        return await _ask_user(ctx, f"{_describe(reply)}. Shall they be made?")
    if not limits.confirmed:
        raise imagen.BudgetExceededError(
            f"{_describe(reply)}, and the user must agree to that; nothing was sent. Ask the user,"
            " and then call again with confirm_cost=true."
        )
    return None


def estimate(ctx: ToolContext, request: imagen.Request, count: int) -> CostReply:
    """Return the cost of `count` images of one request."""
    client = client_of(ctx)
    limit = current_state().confirm_above_usd
    quote = client.quote([request] * count)
    high = quote.high_usd
    return CostReply(
        model=client.model_for(request).id,
        count=count,
        low_usd=dollars(quote.low_usd),
        expected_usd=dollars(quote.expected_usd),
        high_usd=dollars(high),
        needs_confirmation=limit is not None and (high is None or high > limit),
    )


@contextmanager
def noting_retirement() -> Iterator[list[str]]:
    """Collect the warnings about models that will be retired; complete when the
    block is left.
    """
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", imagen.providers.ModelRetiringWarning)
        yield notes
    said = (
        str(item.message)
        for item in caught
        if issubclass(item.category, imagen.providers.ModelRetiringWarning)
    )
    # Each of many images is a request that would warn again.
    notes += dict.fromkeys(said)


def _fits(reply: CostReply, limit_usd: Decimal) -> bool:
    return reply.high_usd is not None and Decimal(reply.high_usd) <= limit_usd


def _describe(reply: CostReply) -> str:
    if reply.high_usd is None or reply.expected_usd is None:
        return f"The price of {reply.images} is unknown"
    return (
        f"{reply.images} will cost about {spoken(reply.expected_usd)} and may cost up to"
        f" {spoken(reply.high_usd)}"
    )


# --- the user -----------------------------------------------------------------


def _can_ask(ctx: ToolContext) -> bool:
    capabilities = ctx.client_capabilities
    elicitation = None if capabilities is None else capabilities.elicitation
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    return _asks_by_answer(ctx) or ctx.session.can_send_request


def _asks_by_answer(ctx: ToolContext) -> bool:
    version = ctx.protocol_version
    return version is not None and is_version_at_least(version, _ASKS_BY_ANSWER)


async def _ask_user(ctx: ToolContext, question: str) -> InputRequiredResult | None:
    """Ask by the client's form without fields: accepting it is consent."""
    form = ElicitRequestFormParams(
        message=question, requested_schema={"type": "object", "properties": {}}
    )
    if not _asks_by_answer(ctx):
        _check_agreed(
            await ctx.session.elicit_form(question, form.requested_schema, ctx.request_id)
        )
        return None
    answer = (ctx.input_responses or {}).get(_QUESTION)
    # The consent is for this price only; the SDK seals the state, and binds it
    # to the arguments of the call.
    if answer is None or ctx.request_state != question:
        return InputRequiredResult(
            input_requests={_QUESTION: ElicitRequest(params=form)}, request_state=question
        )
    _check_agreed(answer)
    return None


def _check_agreed(answer: object) -> None:
    if not isinstance(answer, ElicitResult) or answer.action != "accept":
        raise imagen.BudgetExceededError(
            "The user did not agree to the cost; nothing was sent. Do not ask again unless the user"
            " comes back to it."
        )
