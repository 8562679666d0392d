"""The catalogue: shipped whole, changed by one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.catalogue import load_catalogue
from config.files import BadConfig
from tests.values import HAIKU, SONNET


def test_as_shipped_high_goes_to_the_strong_model(tmp_path: Path) -> None:
    catalogue = load_catalogue(tmp_path)
    assert catalogue.routes == {"low": HAIKU, "medium": HAIKU, "high": SONNET}
    assert {lane.queue for lane in catalogue.lanes.values()} == {"docmill.low", "docmill.medium", "docmill.high"}


def test_one_line_switches_a_route_and_leaves_the_rest(tmp_path: Path) -> None:
    (tmp_path / "catalogue.toml").write_text('[routes]\nhigh = "claude-sonnet-5-5"\n')
    catalogue = load_catalogue(tmp_path)
    assert catalogue.routes == {"low": HAIKU, "medium": HAIKU, "high": "claude-sonnet-5-5"}
    assert catalogue.models[SONNET].window_tokens == 1_000_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[routes]\nhigh = "claude-9"', "routes.high = 'claude-9': not one of"),
        ("[lanes.low]\nconcurrency = 0", "lanes.low.concurrency: Input should be greater than 0"),
        ('[lanes.low]\nqueue = "docmill.high"', "two lanes share a queue"),
        ("[routes", "catalogue.toml: Expected"),
        ("[colours]\nlow = 1", "colours: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_file_is_told_by_its_name_and_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "catalogue.toml").write_text(text)
    with pytest.raises(BadConfig) as caught:
        load_catalogue(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
