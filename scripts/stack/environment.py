"""What our processes are told: the settings, secrets included, by environment and never by argument."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import AliasChoices, SecretStr

from config.settings import Settings
from scripts.stack.part import ROOT

DROPPED = {
    "PYTHONDONTWRITEBYTECODE",  # every process would compile its packages anew at each start
    "PYTHONHOME",
    "PYTHONSTARTUP",
}


def environment(settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    """`inherited`, but with exactly these settings, and with our packages before any others of their names."""
    told = {_variable(name): _text(getattr(settings, name)) for name in Settings.model_fields}
    told["DOCMILL_HOME"] = str(settings.home.absolute())
    told["DOCMILL_DATABASE_URL"] = _absolute_sqlite(settings.database_url)
    ours = {name.casefold() for name in told}  # the settings are read whatever their case
    kept = {name: value for name, value in inherited.items() if name not in DROPPED and name.casefold() not in ours}
    path = [str(ROOT), *(entry for entry in kept.get("PYTHONPATH", "").split(os.pathsep) if entry != str(ROOT))]
    return (
        kept
        | {name: value for name, value in told.items() if value}
        | {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",  # a log line is in its file when it is written
        }
    )


def _variable(name: str) -> str:
    alias = Settings.model_fields[name].validation_alias
    return str(alias.choices[-1]) if isinstance(alias, AliasChoices) else f"DOCMILL_{name.upper()}"


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _absolute_sqlite(url: str) -> str:
    """A SQLite file is meant relative to where the user is, and our processes are elsewhere."""
    head, slashes, file = url.partition(":///")
    if not head.startswith("sqlite") or not slashes or not file or file.startswith((":", "/", "file:")):
        return url
    return f"{head}:///{Path(file).absolute()}"
