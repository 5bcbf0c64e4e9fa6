"""The format asked for, and other values, read before the command line is parsed."""

from __future__ import annotations

import pytest

from halfopen.cli import commands
from halfopen.main import last_value

PLUGIN, HALFOPEN = "check_tcp_half_open", "halfopen"


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        (["--output", "a"], "a"),
        (["--output=a=b"], "a=b"),
        (["--output", "a", "--output=b"], "b"),
        (["--output"], ""),
        (["--outputs", "a"], ""),
        ([], ""),
    ],
)
def test_the_last_value_of_an_option_is_found_in_a_command_line_that_may_be_wrong(
    typed: list[str], value: str
) -> None:
    assert last_value(typed, "--output") == value


@pytest.mark.parametrize(
    ("program", "typed", "name", "known"),
    [
        pytest.param(HALFOPEN, ["check"], "f5", "f5", id="of-check"),
        pytest.param(HALFOPEN, ["check"], "nosuch", "", id="unknown"),
        pytest.param(HALFOPEN, ["check"], "", "", id="none"),
        pytest.param(HALFOPEN, ["wait"], "json", "json", id="json-of-wait"),
        pytest.param(HALFOPEN, ["watch"], "f5", "", id="watch-knows-no-monitor"),
        pytest.param(HALFOPEN, ["smoke"], "text", "", id="smoke-neither"),
        # The plugin has no commands: that is a host of this name.
        pytest.param(PLUGIN, ["wait", "25"], "f5", "f5", id="host-named-wait"),
    ],
)
def test_a_mistake_is_told_in_the_format_asked_for_if_the_command_knows_it(
    program: str, typed: list[str], name: str, known: str
) -> None:
    assert commands.format_asked_for(program, typed, name) == known
