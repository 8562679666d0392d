"""An error as the API words it: status, type, message, and the code that names its cause.

What each error means for a job is docmill's to judge; here it is only said.
"""

from __future__ import annotations

from pydantic_core import to_json

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class ApiError(Exception):
    """An answer with status `status`. `retry_after_s` None: no such header. `html`: a proxy's page, no JSON."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        retry_after_s: float | None = None,
        html: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.retry_after_s = retry_after_s
        self.html = html

    def body(self, request_id: str) -> bytes:
        """The envelope, or the proxy's page."""
        if self.html:
            return html_page(self.status)
        return to_json({**self.event(), "request_id": request_id})

    def event(self) -> dict[str, object]:
        """The envelope without the request id, as an `event: error` in a stream has it."""
        error: dict[str, object] = {"type": TYPES[self.status], "message": self.message}
        if self.code is not None:
            error["details"] = {"error_code": self.code}
        return {"type": "error", "error": error}


def html_page(status: int) -> bytes:
    """What a proxy in between would send."""
    return f"<html><head><title>{status}</title></head><body><h1>synthetic proxy page</h1></body></html>\n".encode()
