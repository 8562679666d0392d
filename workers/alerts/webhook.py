"""A webhook of our own: alerts as JSON, signed, so that the receiver knows whose they are and how old.

    POST <DOCMILL_ALERT_WEBHOOK_URL>
    Content-Type: application/json
    Docmill-Alert: alert-019aacf3b1e27d04c5a9f1
    Docmill-Timestamp: 1795388400
    Docmill-Signature: v1=5f0c...

    {"id": "alert-...", "kind": "budget.soft", "subject": "...", "body": "...", "detail": {...}, "created_at": "..."}

The signature is HMAC-SHA256, in hex, with DOCMILL_ALERT_WEBHOOK_SECRET over the timestamp, a dot and the body as it was
sent. A receiver computes it over what it got, compares the two in constant time, and refuses a timestamp more than five
minutes from now. Any 2xx answer takes the alert; anything else has it sent again, with the same Docmill-Alert, by which
a receiver knows one that it has. Redirects are not followed. A user and password before the host, percent-encoded where
need be, are sent as `Authorization: Basic`.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import socket
import time
from base64 import b64encode
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from config.files import BadConfig
from tasks.model.alert import Delivery, Undelivered

TIMEOUT_S = 10.0
"""Longest wait for a connection, and for each piece of the answer."""


class Webhook:
    """An HTTP endpoint that takes signed alerts."""

    name = "webhook"

    def __init__(self, url: str, secret: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Check both. Raises `BadConfig`, which names the variable and keeps its value out."""
        parts = _parts(url)
        if parts is None:
            raise BadConfig("DOCMILL_ALERT_WEBHOOK_URL: write https://host/path, or https://host:port/path")
        if not secret:
            raise BadConfig("DOCMILL_ALERT_WEBHOOK_SECRET: set it to what the webhook's receiver checks signatures by")
        user, _, host = parts.netloc.rpartition("@")
        self._url = urlunsplit(parts._replace(netloc=host))  # urllib would look up all of it as the host's name
        self._authorization = {"Authorization": _basic(user)} if user else {}
        self._secret, self._timeout_s = secret, timeout_s
        self._opener = build_opener(_NoRedirects())

    def send(self, delivery: Delivery) -> None:
        """See `workers.alerts.channels.Channel`."""
        body = content(delivery)
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "docmill",
            **self._authorization,
            "Docmill-Alert": delivery.alert_id,
            "Docmill-Timestamp": timestamp,
            "Docmill-Signature": f"v1={signature(self._secret, timestamp, body)}",
        }
        request = Request(self._url, data=body, headers=headers)  # noqa: S310 - its scheme was checked above
        try:
            self._opener.open(request, timeout=self._timeout_s).close()
        except HTTPError as error:
            error.close()
            raise Undelivered(f"HTTP {error.code}") from None
        except URLError as error:
            raise Undelivered(_why(error.reason)) from None
        except (OSError, http.client.HTTPException) as error:
            raise Undelivered(_why(error)) from None


def content(delivery: Delivery) -> bytes:
    """The body of the request."""
    alert = delivery.alert
    said = {
        "id": delivery.alert_id,
        "kind": alert.kind,
        "subject": alert.subject,
        "body": alert.body,
        "detail": alert.detail,
        "created_at": delivery.created_at.isoformat(),
    }
    return json.dumps(said, ensure_ascii=False).encode()


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 in hex; see this module's beginning."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _parts(url: str) -> SplitResult | None:
    """None for what is no address of a web server."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises, as `urlsplit` does for brackets that do not fit
    except ValueError:
        return None
    return parts if parts.scheme in {"http", "https"} and parts.hostname else None


def _basic(user_and_password: str) -> str:
    user, _, password = user_and_password.partition(":")
    return f"Basic {b64encode(f'{unquote(user)}:{unquote(password)}'.encode()).decode()}"


def _why(error: object) -> str:
    """In words, or the error's kind: its text may quote the address."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return "host not found" if isinstance(error, socket.gaierror) else type(error).__name__


class _NoRedirects(HTTPRedirectHandler):
    """What is signed for one address is not for another."""

    def redirect_request(self, *_: Any) -> None:
        return None
