"""Where the running stack is: the file that `docmill up` and `docmill run` keep in the data folder while they run.

It lets another terminal's `docmill submit`, or a `celery -A workers.app flower` by hand, find the embedded servers.
The file holds the broker's password: only its owner reads it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_serializer

from config.settings import Settings


class Stack(BaseModel):
    """The servers of a running stack. An address is None for what it did not start itself."""

    model_config = ConfigDict(frozen=True)

    pid: int
    """Of the supervisor: the file is stale once this process is gone."""
    redis_url: SecretStr | None = None
    simulator_url: str | None = None
    flower_url: str | None = None

    @field_serializer("redis_url", when_used="json")
    def _tell(self, url: SecretStr | None) -> str | None:
        return url.get_secret_value() if url else None

    @classmethod
    def read(cls, home: Path) -> Self | None:
        """The stack that runs on this data folder, or None."""
        try:
            stack = cls.model_validate_json(_path(home).read_bytes())
            os.kill(stack.pid, 0)
        except (OSError, ValidationError):
            return None
        return stack

    def write(self, home: Path) -> None:
        """Tell other processes. The file appears whole or not at all."""
        home.mkdir(parents=True, exist_ok=True)
        draft = _path(home).with_suffix(".draft")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(self.model_dump_json())
        draft.rename(_path(home))

    @staticmethod
    def forget(home: Path) -> None:
        """Take the file away: the stack has stopped."""
        _path(home).unlink(missing_ok=True)


def _path(home: Path) -> Path:
    return home / "stack.json"


class NotConfigured(RuntimeError):
    """Something has no address; the message says what, and the way to give it one."""


def broker_url(settings: Settings) -> str:
    """The broker's URL, password included: the one that was set, else the running stack's. Raises `NotConfigured`."""
    said = settings.redis_url.get_secret_value()
    if said:
        return said
    stack = Stack.read(settings.home)
    if stack is None or stack.redis_url is None:
        raise NotConfigured(
            f"no broker: nothing runs in {settings.home} and DOCMILL_REDIS_URL is not set; start `docmill up`"
        )
    return stack.redis_url.get_secret_value()


def claude_address(settings: Settings) -> tuple[str | None, SecretStr]:
    """Base URL (None for Anthropic's own) and key of the far side: Claude, or the running stack's simulator.

    Raises `NotConfigured` when there is no key and no simulator.
    """
    if not settings.simulated:
        return settings.anthropic_base_url or None, settings.anthropic_api_key
    url = settings.simulator_url
    if not url and (stack := Stack.read(settings.home)):
        url = stack.simulator_url or ""
    if not url:
        raise NotConfigured("no ANTHROPIC_API_KEY and no simulator: set the key, or start `docmill up`")
    return url, SecretStr("simulated")
