"""A value that is valid under a JSON schema, made of a document's words. The same document has the same value.

Takes what structured output takes (see `rules.schema_problems`), and `oneOf`. String patterns are not honoured.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.simulator.rules import resolve

SAMPLES = {
    "date-time": "2026-01-02T03:04:05Z",
    "time": "03:04:05Z",
    "date": "2026-01-02",
    "duration": "P3DT4H",
    "email": "synthetic@example.com",
    "hostname": "synthetic.example.com",
    "uri": "https://example.com/synthetic",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class SchemaAnswer:
    """Values for one schema and one document. `seed` below 2**32 picks among enums, variants and words."""

    def __init__(self, schema: Mapping[str, Any], words: Sequence[str], seed: int) -> None:
        self._root = schema
        self._words = words or ("synthetic",)
        self._seed = seed

    def value(self) -> Any:  # noqa: ANN401 - JSON
        """The whole answer."""
        return self._value(self._root, "")

    def _draw(self, path: str) -> int:
        return zlib.crc32(path.encode(), self._seed)

    def _value(self, node: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - JSON
        node = self._flat(node, path)
        if "const" in node:
            return node["const"]
        if node.get("enum"):
            return node["enum"][self._draw(path) % len(node["enum"])]
        match self._kind(node, path):
            case "object":
                return self._object(node, path)
            case "array":
                return self._array(node, path)
            case "integer":
                return self._draw(path) % 100
            case "number":
                return self._draw(path) % 10_000 / 100
            case "boolean":
                return self._draw(path) % 2 == 0
            case "null":
                return None
            case _:
                return SAMPLES.get(node.get("format", "")) or self._phrase(path)

    def _flat(self, node: Mapping[str, Any], path: str) -> Mapping[str, Any]:
        """The node with references followed, one variant chosen and `allOf` merged."""
        while "$ref" in node:
            node = resolve(self._root, node["$ref"])
        for keyword in ("anyOf", "oneOf"):
            if variants := node.get(keyword):
                rest = {key: value for key, value in node.items() if key != keyword}
                return self._flat(_merged(rest, self._variant(variants, path)), path)
        if parts := node.get("allOf"):
            merged: Mapping[str, Any] = {key: value for key, value in node.items() if key != "allOf"}
            for part in parts:
                merged = _merged(merged, self._flat(part, path))
            return self._flat(merged, path)
        return node

    def _variant(self, variants: Sequence[Mapping[str, Any]], path: str) -> Mapping[str, Any]:
        telling = [variant for variant in variants if variant.get("type") != "null"] or variants
        return telling[self._draw(path + "|") % len(telling)]

    def _kind(self, node: Mapping[str, Any], path: str) -> str:
        kind = node.get("type")
        if isinstance(kind, str):
            return kind
        if kind:
            telling = [one for one in kind if one != "null"] or kind
            return str(telling[self._draw(path + "|") % len(telling)])
        return "object" if "properties" in node else "array" if "items" in node else "string"

    def _object(self, node: Mapping[str, Any], path: str) -> dict[str, Any]:
        required = set(node.get("required", ()))
        return {
            name: self._value(child, f"{path}.{name}")
            for name, child in node.get("properties", {}).items()
            if name in required or self._draw(f"{path}.{name}?") % 4
        }

    def _array(self, node: Mapping[str, Any], path: str) -> list[Any]:
        size = max(node.get("minItems", 0), 1 + self._draw(path + "#") % 3)
        return [self._value(node.get("items") or {}, f"{path}[{index}]") for index in range(size)]

    def _phrase(self, path: str) -> str:
        at = self._draw(path)
        start = at % len(self._words)
        return " ".join(self._words[start : start + 1 + at % 5])


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *other["required"]]
    return merged
