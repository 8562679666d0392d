"""The broker: kombu's Redis transport, mended so that it loses nothing, repeats nothing and waits in Redis.

`install(app)` is all an app needs. See `channel` for what is different, `keys` for what lies where in Redis.
"""

from .bulk import Outgoing, publish_many
from .errors import BrokerRefused
from .inspection import Depth, depths
from .keys import Keys
from .lanes import LaneLimits
from .pauses import Pause, Pauses
from .quarantine import Quarantine, Quarantined
from .setup import install

__all__ = [
    "BrokerRefused",
    "Depth",
    "Keys",
    "LaneLimits",
    "Outgoing",
    "Pause",
    "Pauses",
    "Quarantine",
    "Quarantined",
    "depths",
    "install",
    "publish_many",
]
