"""The broker: kombu's Redis transport, mended so that it loses nothing, repeats nothing and waits in Redis.

`install(app)` is all an app needs. See `channel` for what is different, `keys` for what lies where in Redis.
"""

from workers.transport.asking import channel_of
from workers.transport.bell import Bell
from workers.transport.bulk import Outgoing, publish_many
from workers.transport.errors import BrokerRefused
from workers.transport.inspection import Depth, depths
from workers.transport.keys import Keys
from workers.transport.lanes import LaneLimits
from workers.transport.pauses import Pause, Pauses
from workers.transport.quarantine import Quarantine, Quarantined
from workers.transport.setup import install

__all__ = [
    "Bell",
    "BrokerRefused",
    "Depth",
    "Keys",
    "LaneLimits",
    "Outgoing",
    "Pause",
    "Pauses",
    "Quarantine",
    "Quarantined",
    "channel_of",
    "depths",
    "install",
    "publish_many",
]
