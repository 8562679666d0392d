"""Every internal of kombu, Celery and Flower that the transport leans on, by name.

An upgrade that moves one of them fails here, and says which, before it fails in a worker.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest

from workers.transport.channel import Channel, SentinelChannel

SIGNATURES = {
    # overridden: what we replace must still be called like this
    "kombu.transport.redis:Channel._brpop_start": "(self, timeout=None)",
    "kombu.transport.redis:Channel._brpop_read": "(self, **options)",
    "kombu.transport.redis:Channel._put": "(self, queue, message, **kwargs)",
    "kombu.transport.redis:Channel._size": "(self, queue)",
    "kombu.transport.redis:Channel._purge": "(self, queue)",
    "kombu.transport.redis:Channel._queue_bind": "(self, exchange, routing_key, pattern, queue)",
    "kombu.transport.redis:Channel._basic_cancel": "(self, consumer_tag)",
    "kombu.transport.redis:Channel._get_pool": "(self, asynchronous=False)",
    "kombu.transport.redis:Channel.basic_consume": "(self, queue, *args, **kwargs)",
    "kombu.transport.redis:Channel.close": "(self)",
    "kombu.transport.virtual:Channel.basic_consume": "(self, queue, no_ack, callback, consumer_tag, **kwargs)",
    "kombu.transport.virtual:Channel.basic_get": "(self, queue, no_ack=False, **kwargs)",
    "kombu.transport.virtual:Message.__init__": "(self, payload, channel=None, **kwargs)",
    "kombu.transport.redis:QoS.append": "(self, message, delivery_tag)",
    "kombu.transport.redis:QoS.ack": "(self, delivery_tag)",
    "kombu.transport.redis:QoS.reject": "(self, delivery_tag, requeue=False)",
    "kombu.transport.redis:QoS.restore_unacked": "(self, client=None)",
    "kombu.transport.redis:QoS.restore_visible": "(self, start=0, num=10, interval=10)",
    "kombu.transport.virtual:QoS.can_consume": "(self)",
    "kombu.transport.virtual:QoS.restore_unacked_once": "(self, stderr=None)",
    "kombu.transport.redis:Transport.register_with_event_loop": "(self, connection, loop)",
    "celery.worker.consumer:Consumer.create_task_handler": "(self, promise=<class 'vine.promises.promise'>)",
    "celery.worker.consumer:Consumer.on_decode_error": "(self, message, exc)",
    "celery.worker.consumer:Consumer.on_unknown_message": "(self, body, message)",
    "celery.worker.consumer:Consumer.on_unknown_task": "(self, body, message, exc)",
    "celery.worker.consumer:Consumer.on_invalid_task": "(self, body, message, exc)",
    # called
    "kombu.transport.redis:Channel._flush_brpop_reauth": "(self)",
    "kombu.transport.redis:Channel._disconnect_pools": "(self)",
    "kombu.transport.redis:Channel._close_clients": "(self)",
    "kombu.transport.virtual:Channel._get_message_priority": "(self, message, reverse=False)",
    "kombu.transport.redis:MultiChannelPoller.discard": "(self, channel)",
    "kombu.transport.virtual:Channel._lookup": "(self, exchange, routing_key, default=None)",
    "kombu.utils.scheduling:round_robin_cycle.rotate": "(self, last_used)",
    "kombu.utils.scheduling:round_robin_cycle.consume": "(self, n)",
    "kombu.messaging:Producer._publish": (
        "(self, body, priority, content_type, content_encoding, headers, properties, routing_key, mandatory, "
        "immediate, exchange, declare, timeout=None, confirm_timeout=None, retry=False, retry_policy=None)"
    ),
    "kombu.transport.virtual:Channel.prepare_message": (
        "(self, body, priority=None, content_type=None, content_encoding=None, headers=None, properties=None)"
    ),
    "kombu.asynchronous:Hub.call_later": "(self, delay, callback, *args)",
    "kombu.asynchronous:Hub.call_repeatedly": "(self, delay, callback, *args)",
    "celery.utils.saferepr:saferepr": "(o, maxlen=None, maxlevels=3, seen=None)",
}

ATTRIBUTES = [
    "kombu.transport:TRANSPORT_ALIASES",
    "kombu.transport:_transport_cache",
    "kombu.transport.redis:Channel.from_transport_options",
    "kombu.transport.redis:Transport.channel_errors",
    "kombu.serialization:registry.type_to_name",
    "celery.worker.state:active_requests",
    "celery.worker.state:reserved_requests",
    "celery.worker.state:scheduled_requests",
    "celery.worker.request:Request.acknowledged",
    "celery.worker.request:Request.message",
    "celery.app.amqp:AMQP.argsrepr_maxsize",
]

SOURCES = {
    # kombu calls this instead of closing a lost connection, if the transport has it
    "kombu.connection:Connection.collect": ["self._transport._collect", "gc_transport(self._connection)"],
    # the poller asks for credit before it asks for messages, and reads by these names
    "kombu.transport.redis:MultiChannelPoller.on_poll_start": ["channel.qos.can_consume()", "_register_BRPOP"],
    "kombu.transport.redis:MultiChannelPoller._register_BRPOP": ["channel._in_poll", "channel._brpop_start()"],
    "kombu.transport.redis:MultiChannelPoller.maybe_check_brpop_health": ["channel._brpop_sent_at"],
    "kombu.transport.redis:Channel.__init__": ["'BRPOP': self._brpop_read", "self._queue_cycle"],
    "kombu.transport.redis:Channel._q_for_pri": ["{queue}{self.sep}{pri}"],
    "kombu.transport.redis:QoS.append": ["dumps([message._raw, EX, RK])"],
    "kombu.transport.virtual:Channel.basic_consume": ["self.connection._callbacks[queue]", "self.Message(raw_message"],
    # the handlers are looked up on the consumer, and the timers end with the connection
    "celery.worker.consumer:Consumer.create_task_handler": ["self.on_unknown_task", "self.on_invalid_task"],
    "celery.worker.consumer:Consumer.on_connection_error_after_connected": ["self.connection.collect("],
    "celery.worker.loops:asynloop": ["hub.propagate_errors = errors", "obj.register_with_event_loop(hub)"],
    "kombu.asynchronous:Hub.fire_timers": ["except propagate"],
    # Flower goes by the scheme of the broker's URL
    "flower.utils.broker:Broker.__new__": ["urlparse(broker_url).scheme", "'redis'", "'rediss'", "'sentinel'"],
}


def found(name: str) -> Any:
    module, _, path = name.partition(":")
    value: Any = import_module(module)
    for part in path.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("name", SIGNATURES)
def test_it_is_called_as_before(name: str) -> None:
    assert str(inspect.signature(found(name))) == SIGNATURES[name]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_it_is_still_there(name: str) -> None:
    assert found(name) is not None


@pytest.mark.parametrize("name", SOURCES)
def test_it_still_does_what_we_rely_on(name: str) -> None:
    source = inspect.getsource(found(name))
    assert [fragment for fragment in SOURCES[name] if fragment not in source] == []


@pytest.mark.parametrize(
    ("ours", "stock"),
    [(Channel, "kombu.transport.redis:Channel"), (SentinelChannel, "kombu.transport.redis:SentinelChannel")],
)
def test_we_take_every_option_that_kombu_takes(ours: Any, stock: str) -> None:
    assert set(ours.from_transport_options) == {*found(stock).from_transport_options, "lane_limits"}
