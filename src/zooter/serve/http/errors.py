"""Build the errors that the server itself answers with, in the form that OpenAI's clients understand."""

import json


class ApiError(Exception):
    """An error response.

    Attributes:
        status: HTTP status.
        message: OpenAI's `message`.
        kind: OpenAI's `type`.
        code: OpenAI's `code`.
        param: OpenAI's `param`: the request's member that is wrong.
        retry_after: whole seconds to wait before the next attempt; None if waiting does not help.
        body_unread: whether the client may still be sending the request's body.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
        body_unread: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind
        self.code, self.param, self.retry_after, self.body_unread = code, param, retry_after, body_unread

    def __reduce__(self) -> tuple[type["ApiError"], tuple[object, ...]]:
        values = (self.status, self.message, self.kind, self.code, self.param, self.retry_after, self.body_unread)
        return ApiError, values

    def body(self) -> bytes:
        """Encode the error as JSON."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}).encode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that belong to the body, without its length."""
        headers = [(b"content-type", b"application/json")]
        if self.retry_after is not None:
            headers.append((b"retry-after", str(self.retry_after).encode()))
        return headers
