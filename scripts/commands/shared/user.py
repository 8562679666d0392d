"""Who gives a command: kept beside what was changed, for whoever reads it later."""

from __future__ import annotations

import getpass


def user_name() -> str:
    """By LOGNAME and the like, else by the process's user; `a person` where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return "a person"
