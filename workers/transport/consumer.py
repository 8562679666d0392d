"""Celery's worker consumer, which tells quarantine why a message can never run here.

Celery rejects such messages; `channel` moves whatever is rejected. Ours only adds the reason, and keeps the worker
alive where Celery would end or reconnect for ever.
"""

from __future__ import annotations

from collections.abc import Callable

from celery.utils.log import get_logger
from celery.worker import consumer as stock

from workers.transport.foreign import Foreign

log = get_logger(__name__)


class Consumer(stock.Consumer):
    """Chosen with `worker_consumer`."""

    def on_decode_error(self, message: Foreign, exc: Exception) -> None:
        """A body that cannot be decoded, or decompressed."""
        reject(message, f"body cannot be decoded: {_short(exc)}")

    def on_unknown_message(self, body: Foreign, message: Foreign) -> None:
        """No task message."""
        reject(message, "not a task message")

    def on_unknown_task(self, body: Foreign, message: Foreign, exc: Exception) -> None:
        """A task this worker does not have."""
        message.channel.qos.explain(message.delivery_tag, f"unknown task {message.headers.get('task')!r}")
        super().on_unknown_task(body, message, exc)

    def on_invalid_task(self, body: Foreign, message: Foreign, exc: Exception) -> None:
        """A task message that Celery refuses, also for its content type."""
        reject(message, _short(exc))

    def create_task_handler(self, *args: Foreign, **kwargs: Foreign) -> Callable[[Foreign], Foreign]:
        """Celery's handler; a message it stumbles over is not given to it again."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Foreign) -> Foreign:
            try:
                return handle(message)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                if message.acknowledged:
                    raise
                log.exception("a message that is no readable task")
                return reject(message, f"not a readable task: {_short(error)}")

        return on_task_received


def reject(message: Foreign, reason: str) -> None:
    """Quarantine `message`."""
    message.channel.qos.explain(message.delivery_tag, reason)
    message.reject()


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
