"""Strict reader of a request's fields, with OpenAI's errors."""

from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn, Self

import msgspec

from .messages import Reply, json_reply


class BadRequestError(Exception):
    """The request is refused with OpenAI's error envelope."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None,
        code: str | None,
        kind: str = "invalid_request_error",
        status: int = 400,
    ) -> None:
        super().__init__(message)
        self.param = param
        self.status = status
        self.reply = error_reply(message, param=param, code=code, kind=kind, status=status)


def error_reply(
    message: str,
    *,
    status: int,
    code: str | None = None,
    param: str | None = None,
    kind: str = "invalid_request_error",
    headers: tuple[tuple[str, str], ...] = (),
) -> Reply:
    error = {"message": message, "type": kind, "param": param, "code": code}
    return json_reply({"error": error}, status=status, headers=headers)


class Fields:
    """The fields of a JSON object; null counts as left out. Every reader may
    raise `BadRequestError`.
    """

    def __init__(self, body: bytes) -> None:
        try:
            self._values = msgspec.json.decode(body, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise BadRequestError(
                "The body of the request is not a JSON object.", param=None, code=None
            ) from None

    @classmethod
    def of_form(cls, texts: Mapping[str, Sequence[str]]) -> Self:
        """The text fields of a form: what reads as a number or a truth value in
        JSON is one, but for texts.
        """
        fields = cls(b"{}")
        for name, values in texts.items():
            read = values[-1]
            try:
                value = read if name in ("prompt", "model") else msgspec.json.decode(read)
            except msgspec.DecodeError:
                value = read
            fields._values[name] = value
        return fields

    def get(self, name: str) -> object:
        return self._values.get(name)

    def names(self) -> list[str]:
        return list(self._values)

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def refuse_unknown(self, known: Collection[str]) -> None:
        for name in self._values:
            if name not in known:
                # The form of words is as recorded.
                raise BadRequestError(
                    f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter"
                )

    def prompt(self, *, longest: int | None = None) -> str:
        text = self.text("prompt", required=True)
        if not text:
            raise BadRequestError(
                "Invalid 'prompt': it is empty.", param="prompt", code="invalid_value"
            )
        if longest is not None and len(text) > longest:
            message = (
                f"Invalid 'prompt': string too long. At most {longest} characters, got {len(text)}."
            )
            raise BadRequestError(message, param="prompt", code="string_above_max_length")
        return text

    def text(self, name: str, default: str = "", *, required: bool = False) -> str:
        if name not in self:
            if required:
                raise BadRequestError(
                    f"Missing required parameter: '{name}'.",
                    param=name,
                    code="missing_required_parameter",
                )
            return default
        value = self._values[name]
        if not isinstance(value, str):
            self._refuse_type(name, "a string")
        return value

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        value = self.text(name, default)
        if value not in allowed:
            listed = ", ".join(f"'{item}'" for item in allowed)
            raise BadRequestError(
                f"Invalid value: '{value}'. Supported values are: {listed}.",
                param=name,
                code="invalid_value",
            )
        return value

    def integer(self, name: str, lowest: int, highest: int, default: int) -> int:
        if name not in self:
            return default
        value = self._values[name]
        if not isinstance(value, int) or isinstance(value, bool):
            self._refuse_type(name, "an integer")
        if not lowest <= value <= highest:
            message = f"Invalid '{name}': {value} is not between {lowest} and {highest}."
            raise BadRequestError(message, param=name, code="invalid_value")
        return value

    def number(self, name: str, lowest: float, highest: float) -> float | None:
        if name not in self:
            return None
        value = self._values[name]
        if not isinstance(value, int | float) or isinstance(value, bool):
            self._refuse_type(name, "a number")
        if not lowest <= value <= highest:
            message = f"Invalid '{name}': {value} is not between {lowest} and {highest}."
            raise BadRequestError(message, param=name, code="invalid_value")
        return value

    def flag(self, name: str) -> bool:
        if name not in self:
            return False
        value = self._values[name]
        if not isinstance(value, bool):
            self._refuse_type(name, "a boolean")
        return value

    def _refuse_type(self, name: str, wanted: str) -> NoReturn:
        got = type(self._values[name]).__name__
        raise BadRequestError(
            f"Invalid type for '{name}': expected {wanted}, got {got}.",
            param=name,
            code="invalid_type",
        )
