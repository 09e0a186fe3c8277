"""A request that the server itself answers with an error, in the form that OpenAI's clients understand."""

import json


class ApiError(Exception):
    """An HTTP status, the words, and how long to wait before trying again.

    Attributes:
        kind, code, param: OpenAI's `type`, `code` and `param`.
        retry_after: whole seconds; None where waiting does not help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind
        self.code, self.param, self.retry_after = code, param, retry_after

    def body(self) -> bytes:
        """The error as JSON."""
        told = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return json.dumps({"error": told}).encode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that go with the body."""
        found = [(b"content-type", b"application/json")]
        if self.retry_after is not None:
            found.append((b"retry-after", str(self.retry_after).encode()))
        return found
