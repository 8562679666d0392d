"""A JSONL file of documents: each line names a file or holds a text, with its own wishes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, NoReturn, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from config.catalogue import Complexity
from tasks.model.priority import Priority
from workers.intake.document import MAX_BYTES, Unreadable, shown, size_mb
from workers.intake.encoding import tidy
from workers.intake.source import Source

_MAX_LINE_BYTES = 2 * MAX_BYTES
"""A text of the largest size with its escapes; longer ones are passed over without being held in memory."""


class Line(BaseModel):
    """One line. Just one of `path` and `text` is given; what is absent is left to the command line's options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str | None, Field(min_length=1, max_length=1000, coerce_numbers_to_str=True)] = None
    """The document's name in results; the path, or file and line, where there is none."""
    path: Annotated[str | None, Field(min_length=1)] = None
    """Relative to the JSONL file's folder, or to the current one when the lines come from stdin."""
    text: str | None = None
    recipe: str | None = None
    complexity: Complexity | None = None
    priority: Priority | None = None
    values: dict[str, str] = Field(default_factory=dict)
    """For the recipe's parameters, such as `question`."""
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    """Kept with the job and given back with its result."""

    @model_validator(mode="after")
    def _one_document(self) -> Self:
        if (self.path is None) == (self.text is None):
            raise ValueError("give either 'path' or 'text'")
        return self


def lines(stream: BinaryIO, name: str, folder: Path) -> Iterator[Source | Unreadable]:
    """The documents of a JSONL stream, one line in memory at a time. A bad line is a fault named `file:line`."""
    number = 0
    while raw := stream.readline(_MAX_LINE_BYTES):
        number += 1
        where = f"{name}:{number}"
        if len(raw) == _MAX_LINE_BYTES and not raw.endswith(b"\n"):
            _pass_over(stream)
            yield Unreadable(where, f"over {size_mb(_MAX_LINE_BYTES)} in one line: give the text's file as 'path'")
        elif raw.strip():
            yield _source(raw, where, folder)


def _pass_over(stream: BinaryIO) -> None:
    while (raw := stream.readline(MAX_BYTES)) and not raw.endswith(b"\n"):
        pass


def _source(raw: bytes, where: str, folder: Path) -> Source | Unreadable:
    try:
        line = Line.model_validate(_clean(json.loads(raw.strip().decode("utf-8-sig"), parse_constant=_no_constant)))
    except ValidationError as error:
        return Unreadable(where, _problem(error))
    except UnicodeDecodeError:
        return Unreadable(where, "not UTF-8: save the file as UTF-8")
    except json.JSONDecodeError as error:
        return Unreadable(where, f"not JSON ({error.msg} at column {error.colno}): one object per line")
    except (ValueError, RecursionError):
        return Unreadable(where, "not JSON that can be kept: no NaN, no endless numbers, no deep nesting")
    body = folder / line.path if line.path is not None else line.text or ""
    return Source(
        name=shown(line.id or line.path or where),
        body=body,
        recipe=line.recipe,
        complexity=line.complexity,
        priority=line.priority,
        values=line.values,
        metadata=line.metadata,
    )


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(constant)


def _clean(value: JsonValue) -> JsonValue:
    """The value with every string tidied: JSON can escape NULs and lone surrogates, which SQL does not take."""
    match value:
        case str():
            return tidy(value)
        case list():
            return [_clean(one) for one in value]
        case dict():
            return {tidy(key): _clean(one) for key, one in value.items()}
    return value


def _problem(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    key = shown(".".join(str(part) for part in first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}': use {', '.join(Line.model_fields)}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message
