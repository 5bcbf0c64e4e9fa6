"""Every file of examples/, without the hosts, and the pages' commands: syntax and options."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any, Dict, List, Tuple

import pytest
import yaml
from support.pages import BLOCKS, EXAMPLES, PAGES, ROOT, Call, calls, code

from halfopen.cli import options
from halfopen.formats.registry import FORMATS

FILES = sorted(path for path in EXAMPLES.rglob("*") if path.is_file())
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())

ICINGA = re.compile(r'^ *"(-[^"]+)" =', re.M)
"""An argument of an Icinga CheckCommand; its value is not in the same line."""


def name_of(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


# -- options --------------------------------------------------------------------------------------


def test_calls_are_found_wherever_they_stand() -> None:
    plugin, check = ("check_tcp_half_open",), ("halfopen", "check")

    assert [
        (call.command, call.options(), call.value("--format"))
        for call in calls(
            """
            # sudo halfopen check a:1 --sudo, as `check_tcp_half_open --format x --sudo` and -z
            -x 'check_tcp_half_open HOST PORT -p 1' -y
            args = ["/usr/lib/nagios/plugins/check_tcp_half_open", "-H", "a", "--exit=error=0"]
            command: [/usr/local/bin/halfopen, check, "127.0.0.1:443", --timeout, "4"]
            x=$(halfopen check --format=json \\
                -4 a 1 2>/dev/null) -y
            /etc/sudoers.d/halfopen /opt/halfopen/bin/pip -x; halfopen is a --word
            """
        )
    ] == [
        (check, ["--sudo"], []),
        (plugin, ["--format", "--sudo"], ["x"]),
        (plugin, ["-p"], []),
        (plugin, ["-H", "--exit"], []),
        (check, ["--timeout"], []),
        (check, ["--format", "-4"], ["json"]),
    ]


def known_options(command: Tuple[str, ...]) -> List[str]:
    """Return the options of the command: its help has them all (test_app.py)."""
    declared = options.COMMANDS[command[1]] if command[1:] else options.PLUGIN
    return ["--help", *(name for option in declared.options for name in option.names)]


def calls_in(path: Path) -> List[Call]:
    text = path.read_text(encoding="utf-8")
    found = list(calls(text))
    if "icinga2" in path.parts and found:
        found.append(Call(("check_tcp_half_open",), tuple(ICINGA.findall(text))))
    return found


ALL_CALLS = {
    **{name_of(path): calls_in(path) for path in FILES},
    **{page: list(calls(code(page))) for page in PAGES},
}


def test_only_options_that_exist_are_used() -> None:
    commands = {call.command for found in ALL_CALLS.values() for call in found}
    known = {command: known_options(command) for command in commands}

    assert [
        (name, option)
        for name, found in ALL_CALLS.items()
        for call in found
        for option in call.options()
        if option not in known[call.command]
    ] == []


def test_only_formats_that_exist_are_used() -> None:
    used = [
        name for found in ALL_CALLS.values() for call in found for name in call.value("--format")
    ]

    assert "f5" in used
    assert [name for name in used if name not in {*FORMATS, "junit"}] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_every_folder_has_a_call_of_ours(folder: Path) -> None:
    # Or else the options of a host are written in a way that these tests don't see.
    assert any(found for name, found in ALL_CALLS.items() if name.startswith(f"{folder.name}/"))


# -- syntax ---------------------------------------------------------------------------------------


def shell_of(path: Path) -> List[str]:
    """Return the shell scripts in a file: itself, or a workflow's, job's or image's commands."""
    text = path.read_text(encoding="utf-8")
    if text.startswith("#!/bin/sh\n"):
        return [text]
    if path.parent.name == "github-actions":
        return [step["run"] for job in parsed(path)["jobs"].values() for step in job["steps"]]
    if path.parent.name == "gitlab-ci":
        return ["\n".join(job["script"]) for job in parsed(path).values()]
    if path.name == "Dockerfile":
        return re.findall(r"^RUN ((?:.*\\\n)*.*)$", text, re.M)
    return []


def parsed(path: Path) -> Dict[str, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


SCRIPTS = [
    *((name_of(path), script) for path in FILES for script in shell_of(path)),
    *((block.page, block.text) for block in BLOCKS if block.language == "sh"),
]


def test_scripts_are_found_of_every_kind() -> None:
    folders = {name.split("/")[0] for name, _ in SCRIPTS}

    assert {"farmguardian", "f5", "github-actions", "gitlab-ci", "kubernetes"} <= folders
    assert {"README.md", "docs"} <= folders


@pytest.mark.parametrize(
    "script",
    [pytest.param(script, id=f"{name}-{i}") for i, (name, script) in enumerate(SCRIPTS)],
)
def test_a_script_is_one(script: str) -> None:
    checkers = [["sh", "-n", "-"]]
    if shutil.which("shellcheck"):
        checkers.append(["shellcheck", "--shell=sh", "-"])
    for checker in checkers:
        done = subprocess.run(
            checker, input=script.encode(), stdout=PIPE, stderr=STDOUT, timeout=60, check=False
        )
        assert (done.returncode, done.stdout.decode()) == (0, ""), checker


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.suffix in (".yaml", ".yml")], ids=name_of
)
def test_yaml_is_yaml(path: Path) -> None:
    assert parsed(path)


def test_a_workflow_is_one() -> None:
    workflow = parsed(EXAMPLES / "github-actions" / "half-open.yml")
    # YAML 1.1 takes the bare word `on` for a truth value; GitHub does not.
    assert set(workflow) == {"name", True, "permissions", "env", "jobs"}
    (job,) = workflow["jobs"].values()

    assert set(job) == {"runs-on", "timeout-minutes", "services", "steps"}
    assert all(set(step) <= {"name", "env", "run"} for step in job["steps"])
    # An expression is put into the script's text; a variable is not.
    assert all("${{" not in step["run"] for step in job["steps"])
    assert job["steps"][-1]["run"].splitlines()[-1].startswith("sudo "), "the runner is not root"


def test_a_job_is_one() -> None:
    (job,) = parsed(EXAMPLES / "gitlab-ci" / "half-open.yml").values()

    assert set(job) == {"image", "variables", "services", "script", "artifacts"}
    assert any(job["artifacts"]["reports"]["junit"] in line for line in job["script"])
    assert all(isinstance(line, str) for line in job["script"])
    (service,) = job["services"]
    assert f" {service['alias']}:80" in job["script"][-1]


def test_an_image_is_made_of_files_that_are_there() -> None:
    text = (EXAMPLES / "kubernetes" / "Dockerfile").read_text(encoding="utf-8")
    copied = [word for line in re.findall(r"^COPY (.*) \S+$", text, re.M) for word in line.split()]

    assert {"halfopen", "pyproject.toml", "README.md", "LICENSE"} == set(copied)
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_begins_by_saying_what_it_is_and_can_be_run_if_it_is_a_script(path: Path) -> None:
    script = path.read_text(encoding="utf-8")
    text = re.sub("^#!.*\n", "", script)
    # JSON knows no comments.
    comment = r'\{\s*"description": "' if path.suffix == ".json" else r"(#|//|/\*|!|;) ?"

    assert re.match(comment + r"\S", text)
    assert bool(os.stat(str(path)).st_mode & 0o111) == script.startswith("#!")
