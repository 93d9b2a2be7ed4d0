"""Budget scopes around code outside the Trio run."""

from __future__ import annotations

from .._policy.budget import BudgetScope

__all__ = ["BridgeScope", "ScopeLeft"]


class ScopeLeft(BaseException):
    """A budget scope has run dry; the bridge carries it to the caller."""

    def __init__(self, scope: BridgeScope) -> None:
        super().__init__("The budget is spent.")
        self.scope = scope


class BridgeScope(BudgetScope):
    """Budget scope that is left outside the Trio run."""

    _caught = False

    @property
    def cancelled_caught(self) -> bool:
        """True if the block was left because the money ran out."""
        return self._caught

    def catch_here(self) -> None:
        """The exception of this scope has reached its block."""
        self._caught = True

    async def leave(self) -> None:
        raise ScopeLeft(self)
