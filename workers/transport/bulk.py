"""Many task messages in few round trips.

Celery itself publishes the first message of each kind; the others are copies with their own id, arguments and delay,
so they are what `apply_async` would have sent. Its signals and `task-sent` events are for the first of a kind only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from json.encoder import encode_basestring_ascii as in_json
from typing import TYPE_CHECKING, NamedTuple

from celery.utils.saferepr import saferepr
from kombu import Producer, serialization
from kombu.utils import json
from kombu.utils.uuid import uuid

from workers.transport.channel import Channel
from workers.transport.foreign import Foreign
from workers.transport.wire import Payload, priority_of

if TYPE_CHECKING:
    from celery import Celery

PLAIN = re.compile(r"[\w.-]{1,50}", re.ASCII)
CHUNK = 500
"""Messages per script call: a few ms in which Redis serves nobody else."""


class Outgoing(NamedTuple):
    """One task to send. `priority` is 0 (most urgent) to 9, None for the task's own; `countdown_s` 0 is at once."""

    task: str
    args: tuple[Foreign, ...]
    queue: str
    priority: int | None = None
    countdown_s: float = 0
    task_id: str | None = None


def publish_many(app: Celery, tasks: Iterable[Outgoing]) -> list[str]:
    """Send `tasks`, in order within a lane and priority; their ids.

    Raises what `apply_async` raises, and `BrokerRefused`; some of the tasks may have been sent by then.
    """
    ids: list[str] = []
    rest = iter(tasks)
    with app.producer_or_acquire() as producer:
        kinds: dict[tuple[str, str, int | None], _Kind] = {}
        while chunk := list(islice(rest, CHUNK)):
            batches: dict[_Kind, list[tuple[float, str]]] = {}
            for task in chunk:
                id_ = task.task_id or uuid()
                ids.append(id_)
                kind = kinds.get((task.task, task.queue, task.priority))
                if kind is None:
                    kinds[task.task, task.queue, task.priority] = _Kind(app, producer.channel, task, id_)
                else:
                    batches.setdefault(kind, []).append((task.countdown_s, kind.message(task.args, id_)))
            for kind, batch in batches.items():
                kind.send(batch)
    return ids


class _Kind:
    """Messages of one task, queue and priority. Making it publishes the first."""

    def __init__(self, app: Celery, channel: Channel, first: Outgoing, id_: str) -> None:
        task = app.tasks.get(first.task)
        options: dict[str, Foreign] = {} if first.priority is None else {"priority": first.priority}
        options.update(task_id=id_, queue=first.queue, countdown=first.countdown_s or None)
        recorder = _Recorder(channel, auto_declare=False)
        if task is None:
            app.send_task(first.task, first.args, producer=recorder, **options)
        else:
            task.apply_async(first.args, producer=recorder, **options)
        self._sent = recorder.message
        headers, content_type = self._sent["headers"], self._sent["content-type"]
        if "compression" in headers:
            raise ValueError(f"task {first.task!r} compresses its messages: publish_many does not, use apply_async")
        self._check: Callable[..., object] | None = getattr(task, "__header__", None) if task and task.typing else None
        self._channel = channel
        self._lanes = channel.lanes_of(self._sent)
        self._step = channel.keys.step(priority_of(self._sent))
        registry: Foreign = serialization.registry  # type: ignore[attr-defined]  # missing from its stubs
        self._serializer = registry.type_to_name[content_type]
        self._rest_of_body = serialization.loads(self._sent["body"], content_type, self._sent["content-encoding"])[1:]
        self._is_root = headers["root_id"] == id_
        self._repr = partial(
            saferepr, maxlen=app.amqp.argsrepr_maxsize, maxlevels=app.conf.get("task_repr_maxlevels", 3)
        )
        self._body_encoding = self._sent["properties"]["body_encoding"]
        self._form = _Form(self._blank)

    def message(self, args: tuple[Foreign, ...], id_: str) -> str:
        """The message as JSON. It has no ETA, because a delay is Redis's to keep."""
        if self._check is not None:
            self._check(*args)
        _, _, body = serialization.dumps((args, *self._rest_of_body), serializer=self._serializer)
        encoded, _ = self._channel.encode_body(body, self._body_encoding)
        return self._form.filled({"body": encoded, "id": id_, "argsrepr": self._told(args), "tag": uuid()})

    def _told(self, args: tuple[Foreign, ...]) -> str:
        """What `saferepr` says; ids and numbers, which most arguments are, say it themselves, and faster."""
        if len(args) < 9 and all(type(each) is int or (type(each) is str and PLAIN.fullmatch(each)) for each in args):
            return repr(args)
        return self._repr(args)

    def _blank(self, blank: Callable[[str], str]) -> Payload:
        """The first message with blanks for what each has of its own."""
        headers, properties = self._sent["headers"], self._sent["properties"]
        own = {
            "id": blank("id"),
            "eta": None,
            "root_id": blank("id") if self._is_root else headers["root_id"],
            "argsrepr": blank("argsrepr"),
        }
        return {
            **self._sent,
            "body": blank("body"),
            "headers": {**headers, **own},
            "properties": {**properties, "correlation_id": blank("id"), "delivery_tag": blank("tag")},
        }

    def send(self, batch: list[tuple[float, str]]) -> None:
        """Publish (delay in seconds, message) pairs."""
        for lane in self._lanes:
            self._channel.publish(lane, self._step, batch)


class _Form:
    """JSON with blanks to fill in: writing out a whole message takes five times as long."""

    def __init__(self, write: Callable[[Callable[[str], str]], Payload]) -> None:
        mark = uuid()
        self._parts = json.dumps(write(lambda name: f"{mark}{name}{mark}")).split(mark)

    def filled(self, values: dict[str, str]) -> str:
        """The JSON; `values` are the text of each blank, by its name."""
        ready = {name: in_json(value)[1:-1] for name, value in values.items()}
        # Between two marks there is a name, and outside of them the text as it is.
        return "".join(ready[part] if n % 2 else part for n, part in enumerate(self._parts))


class _Recorder(Producer):
    """A producer that remembers the last message it published."""

    message: Payload

    def _publish(self, *args: Foreign, **kwargs: Foreign) -> Foreign:
        result = super()._publish(*args, **kwargs)
        channel: Foreign = self.channel
        self.message = channel.prepare_message(*args[:6])  # body, priority, type, encoding, headers, properties
        return result
