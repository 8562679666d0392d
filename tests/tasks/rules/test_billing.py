"""The provider's exports, as they are and as they may be."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.call import Usage
from tasks.rules.billing import BillLine, Unreadable, read_bill, same_model

USAGE_CSV = (
    "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
    "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
    "usage_output_tokens,web_search_count,inference_geo,speed\r\n"
    "2026-11-22,claude-haiku-4-5-20251001,docmill,Default,standard,≤ 200k,46981,15969,3,7,16932,0,global,\r\n"
    "2026-11-23,claude-sonnet-4-6,docmill,Default,standard,≤ 200k,10,0,0,0,5,0,us,\r\n"
)
COST_CSV = (
    "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type\n"
    "2026-11-22,Claude Haiku 4.5,Default,docmill,message,≤ 200k,input_no_cache,0.19,0.19,token\n"
    "2026-11-22,Claude Haiku 4.5,Default,docmill,message,≤ 200k,output,1.03,1.03,token\n"
    "2026-11-22,,Default,docmill,web_search,,,0.10,0.10,web_search\n"
)
DAY_BUCKET = {"starting_at": "2026-11-22T00:00:00Z", "ending_at": "2026-11-23T00:00:00Z"}
USAGE_REPORT: dict[str, Any] = {
    "data": [
        {
            **DAY_BUCKET,
            "results": [
                {
                    "model": "claude-opus-5-5",
                    "uncached_input_tokens": 1500,
                    "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
                    "cache_read_input_tokens": 200,
                    "output_tokens": 500,
                    "server_tool_use": {"web_search_requests": 10},
                    "workspace_id": None,
                }
            ],
        }
    ],
    "has_more": False,
    "next_page": None,
}
COST_REPORT: dict[str, Any] = {
    "data": [
        {
            **DAY_BUCKET,
            "results": [
                {"amount": "123.78912", "currency": "USD", "model": "claude-opus-5-5", "token_type": "output_tokens"},
                {"amount": "1000", "currency": "USD", "model": None, "cost_type": "web_search"},
            ],
        }
    ],
    "has_more": False,
}
SIMULATED = {
    "request_id": "req_sim1",
    "at": 1795305600.5,
    "model": "claude-haiku-4-5-20251001",
    "usage": {
        "input_tokens": 7,
        "cache_creation_5m_tokens": 1,
        "cache_creation_1h_tokens": 2,
        "cache_read_tokens": 3,
        "output_tokens": 4,
    },
    "nanousd": 31_650,
    "charged": True,
}
REFUSED = {**SIMULATED, "request_id": "req_sim2", "nanousd": 0, "charged": False}
SIMULATED_LINE = BillLine(
    "2026-11-22", "claude-haiku-4-5-20251001", Usage(7, 1, 2, 3, 4), cost_nanousd=31_650, request_id="req_sim1"
)
COLUMNS = "cost", "amount", "nanousd", "output_tokens"
OPUS = BillLine("2026-11-22", "claude-opus-5-5", Usage(1500, 500, 1000, 200, 500))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            USAGE_CSV,
            [
                BillLine("2026-11-22", "claude-haiku-4-5-20251001", Usage(46981, 15969, 3, 7, 16932)),
                BillLine("2026-11-23", "claude-sonnet-4-6", Usage(10, 0, 0, 0, 5)),
            ],
        ),
        (
            COST_CSV,
            [
                BillLine("2026-11-22", "Claude Haiku 4.5", None, 190_000_000, 5_000_000),
                BillLine("2026-11-22", "Claude Haiku 4.5", None, 1_030_000_000, 5_000_000),
            ],
        ),
        (json.dumps(USAGE_REPORT), [OPUS]),
        (json.dumps([USAGE_REPORT, USAGE_REPORT]), [OPUS, OPUS]),
        (json.dumps(COST_REPORT), [BillLine("2026-11-22", "claude-opus-5-5", None, 1_237_891_200, 50)]),
        (json.dumps({"totals": {"requests": 2}, "requests": [SIMULATED, REFUSED]}), [SIMULATED_LINE]),
        (f"{json.dumps(SIMULATED)}\n{json.dumps(REFUSED)}\n", [SIMULATED_LINE]),
        (json.dumps({"totals": {}, "requests": [REFUSED]}), []),
        (json.dumps({"data": [], "has_more": False}), []),
        (
            "\ufeffUsage Date (UTC)\tModel\tInput Tokens\tOutput Tokens\n2026/9/1\tclaude-sonnet-5-5\t1,100\t40\n",
            [BillLine("2026-09-01", "claude-sonnet-5-5", Usage(input=1100, output=40))],
        ),
        (
            "date;model;cost\n2026-11-22T23:30:00-02:00;claude-sonnet-5-5;$1.5\n",
            [BillLine("2026-11-23", "claude-sonnet-5-5", None, 1_500_000_000, 50_000_000)],
        ),
        (  # a credit, as it may be written
            "date,model,cost\n" + "".join(f"2026-11-22,claude,{said}\n" for said in ("-$0.50", "$-0.50", "-0.50")),
            [BillLine("2026-11-22", "claude", None, -500_000_000, 5_000_000)] * 3,
        ),
    ],
)
def test_what_an_export_says(text: str, lines: list[BillLine]) -> None:
    assert read_bill(text) == lines


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("{", "no JSON"),
        ('{"requests": [}', "line 1"),
        ("Dear Anna,\nthe parcel came.\n", "neither JSON nor CSV"),
        ("name,age\nAnna,7\n", "neither JSON nor CSV"),
        ("date,model\n2026-11-22,claude-sonnet-4-6\n", "no row in it"),
        (
            '{"data": [{"starting_at": "2026-11-22T00:00:00Z", "results": [{"amount": "1"}]}]}',
            "group the API's reports",
        ),
        ('{"data": [], "has_more": true}', "has_more"),
        ("date,model,cost\n2026-11-22,claude,many\n", "row 1"),
        ("date,model,cost\n2026-11-22,claude,1\n22.11.2026,claude,1\n", "row 2"),
        ("date,model,output_tokens\n2026-11-22,claude,-1\n", "row 1"),
        ("date,model,cost\n2026-11-22,claude,NaN\n", "row 1"),
        ("date,model,cost\n2026-11-22,claude,1e400000000\n", "row 1"),
        ("date,model,cost\n2026-11-22,claude,1e900000\n", "row 1"),
        ("date,model,output_tokens\n2026-11-22,claude,1e900000\n", "row 1"),
        ("date,model,nanousd\n2026-11-22,claude,-1e19\n", "row 1"),
        ('{"date": "2026-11-22", "model": "claude", "nanousd": ' + "1" * 5_000 + "}", "no JSON.*digits"),
        ("[" * 100_000, "nested too deeply"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"usage":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        ("x" * 200_000, "field larger"),
    ],
)
def test_a_file_that_is_no_export_is_told_in_a_line(text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why) as told:
        read_bill(text)
    assert "\n" not in str(told.value)


@given(st.from_regex(r"-?[0-9]{1,4}(\.[0-9]{0,4})?e[+-]?[0-9]{1,10}", fullmatch=True), st.sampled_from(COLUMNS))
def test_a_number_is_read_or_told_however_large_or_small_it_is(number: str, column: str) -> None:
    with suppress(Unreadable):
        (line,) = read_bill(f"date,model,{column}\n2026-11-22,claude,{number}\n")
        assert max(line.cost_nanousd or 0, line.rounding_nanousd) < 10**30


@given(
    st.text(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5).map(json.dumps)
)
def test_nothing_else_is_raised(text: str) -> None:
    with suppress(Unreadable):
        read_bill(text)


def test_a_model_has_one_spelling() -> None:
    assert {same_model(said) for said in ("Claude Haiku 4.5", "claude-haiku-4-5", "claude-haiku-4-5-20251001")} == {
        "claude-haiku-4-5"
    }
