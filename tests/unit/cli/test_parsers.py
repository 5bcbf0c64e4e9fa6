"""Our parser and typer's give the same, or ours leaves it to typer (hypothesis)."""

from __future__ import annotations

import os
import re
import shlex
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.pages import CALL, EXAMPLES, PAGES, calls, code

from halfopen.cli import app, fast_path, options
from halfopen.errors import UsageError
from halfopen.formats.registry import Output

os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.devnull)
MANY = settings(
    max_examples=int(os.environ.get("HALFOPEN_TEST_LINES", "60")),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
ALL = {"check_tcp_half_open": options.PLUGIN, **options.COMMANDS}

OPTIONS = [option for command in ALL.values() for option in command.options]
NAMES = sorted({name for each in OPTIONS for name in each.names})
VALUES = st.sampled_from([
    "5", "0.5", "5s", "open", "json", "nagios", "closed=1", "x", "", "-", "--", "-4", "--sudo",
    "--help", "-1", "a=b", "=", "--=", "/dev/null", "\udcff", "1_0", "nan", "\u0665",
])  # fmt: skip
WORDS = st.one_of(
    st.sampled_from(["192.0.2.25", "25", "192.0.2.25:25", "[::1]:80", "wait", "check"]),
    st.sampled_from(NAMES),
    st.builds("{}={}".format, st.sampled_from(NAMES), VALUES),
    st.builds("{}{}".format, st.sampled_from([n for n in NAMES if len(n) == 2]), VALUES),
    st.builds(lambda name, length: name[:length], st.sampled_from(NAMES), st.integers(min_value=3)),
    st.builds("-{}{}".format, st.sampled_from("46vVhtix"), st.sampled_from(["4", "v", "46", "t5"])),
    st.builds("-{}".format, st.text(max_size=4)),
    VALUES,
)
"""What a command line can be made of: names whole, cut short, with and without a value."""


def lines_of(command: options.Command) -> st.SearchStrategy[list[str]]:
    """Return command lines of which the most are right."""
    right: list[st.SearchStrategy[list[str]]] = []
    for name, takes_value in [(n, o.metavar) for o in command.options for n in o.names]:
        if takes_value:
            right.append(st.tuples(st.just(name), VALUES).map(list))
            right.append(st.builds("{}={}".format, st.just(name), VALUES).map(lambda w: [w]))
        else:
            right.append(st.just([name]))
    parts = st.one_of(*right, st.sampled_from([["192.0.2.25"], ["25"], ["--"]]))
    any_word = WORDS.map(lambda word: [word])
    return st.lists(st.one_of(parts, parts, parts, any_word), max_size=7).map(
        lambda chosen: [word for part in chosen for word in part]
    )


def typed_for(name: str, line: list[str]) -> tuple[str, list[str]]:
    """Return the program, and what is typed after it."""
    return (name, line) if name == "check_tcp_half_open" else ("halfopen", [name, *line])


def typers(program: str, typed: list[str]) -> Any:
    """Return what typer makes of it; None for a complaint, or help."""
    try:
        given = app.parse(program, typed, "")
    except UsageError:
        return None
    return None if isinstance(given, Output) else given


def left_to_typer(typed: list[str]) -> bool:
    """Return whether ours may leave to typer what it takes: flags in one word."""
    return any(re.match("-[46v]+[46vtHpwci]", word) for word in typed)


@pytest.mark.parametrize("name", list(ALL))
@MANY
@given(data=st.data(), variable=st.sampled_from([None, None, "", "/opt/nmap"]))
def test_both_parsers_give_the_same_or_both_complain(
    name: str, data: st.DataObject, variable: str | None
) -> None:
    program, typed = typed_for(name, data.draw(lines_of(ALL[name])))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HALFOPEN_NMAP", raising=False)
        if variable is not None:
            patch.setenv("HALFOPEN_NMAP", variable)

        ours = fast_path.parse(program, typed)
        if ours is not None or not left_to_typer(typed):
            assert typers(program, typed) == ours, " ".join(map(shlex.quote, typed))


@pytest.mark.parametrize(
    ("line", "raw"),
    [
        ("-t 5 -t 6", {"timeout": "6"}),
        ("--no-plus-one", {"no_plus_one": True}),
        ("-t --", {"timeout": "--"}),
        ("-t -4", {"timeout": "-4", "ipv4": False}),
        ("-t ''", {"timeout": ""}),
        ("--timeout=", {"timeout": ""}),
        ("-t=5", {"timeout": "=5"}),
        ("-t5", {"timeout": "5"}),
        ("a 1 -v", {"arguments": ("a", "1"), "verbose": True}),
        ("-- -4 -- x", {"arguments": ("-4", "--", "x"), "ipv4": False}),
        ("- ''", {"arguments": ("-", "")}),
        ("--nmap ''", {"nmap": ""}),
        ("", {"nmap": "nmap", "timeout": None, "arguments": (), "no_plus_one": False}),
    ],
)
def test_our_parser_does_as_click_does(
    line: str, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALFOPEN_NMAP", "")
    typed = shlex.split(line)

    parsed = fast_path.parse("check_tcp_half_open", typed)

    assert parsed is not None
    assert {key: parsed[1][key] for key in raw} == raw
    assert typers("check_tcp_half_open", typed) == parsed


@pytest.mark.parametrize(
    "line",
    ["-46", "-4v", "--sudo=1", "--tim 5", "--tim=5", "-t", "-x", "--help", "-hV", "-V", "-4-sudo"],
)
def test_our_parser_leaves_what_it_does_not_know_for_certain_to_typer(line: str) -> None:
    assert fast_path.parse("check_tcp_half_open", ["192.0.2.25", "25", *shlex.split(line)]) is None


# -- the examples and the pages ----------------------------------------------------------------


def command_lines(text: str) -> list[tuple[str, list[str]]]:
    """Return the calls of both commands in a file, without the shell's quotes."""
    return [(call.command[0], [*call.command[1:], *call.words]) for call in calls(text)]


SOURCES = {
    **{page: code(page) for page in PAGES},
    **{
        str(path.relative_to(EXAMPLES)): path.read_text(encoding="utf-8")
        for path in sorted(EXAMPLES.rglob("*"))
        if path.is_file() and CALL.search(path.read_text(encoding="utf-8"))
    },
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_command_line_of_the_examples_and_the_pages_goes_without_typer(source: str) -> None:
    lines = command_lines(SOURCES[source])

    assert [line for line in lines if fast_path.parse(*line) is None] == []


def test_command_lines_are_found_in_the_examples_of_both_commands() -> None:
    found = {program for text in SOURCES.values() for program, _ in command_lines(text)}

    assert found == {"check_tcp_half_open", "halfopen"}
    assert sum(len(command_lines(SOURCES[page])) for page in PAGES) > 80
