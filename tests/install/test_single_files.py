"""The single files: one build is like another, and they need Python and nmap, nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from dist import COMMANDS, pythons
from lab import TARGET, Lab
from packaging.specifiers import SpecifierSet

from halfopen import __version__

from .conftest import ROOT, build, build_elsewhere

BUNDLE = ROOT / "packaging" / "bundle.txt"
OPEN_LINE = f"TCP HALF-OPEN OK - {TARGET[4]}:25 open (syn-ack) smtp | time="
FORMS = {
    "two-words": [TARGET[4], "25"],
    "four-words": ["NOT_USED", "NOT_USED", TARGET[4], "25"],
    "options": ["-H", TARGET[4], "-p", "25"],
}
PYTHONS = pythons()


@pytest.fixture(scope="session")
def plugin(files: Path) -> str:
    return str(files / "check_tcp_half_open")


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)


def test_another_build_in_another_place_at_another_time_has_the_same_bytes(
    files: Path, tmp_path: Path
) -> None:
    build_elsewhere(ROOT, tmp_path / "place", "dist.py", "files", tmp_path / "files")

    for command in COMMANDS:
        again = tmp_path / "files" / command
        assert again.read_bytes() == (files / command).read_bytes()
        assert os.access(str(again), os.X_OK)


def test_what_is_carried_is_what_the_project_asks_for() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    asked = project.split("\ndependencies = [\n")[1].split("\n]")[0]
    carried = dict(re.findall(r"^([\w-]+)==(\S+)", BUNDLE.read_text(), re.M))

    requirements = re.findall(r'^ *"([\w-]+)([^"]+)",$', asked, re.M)
    assert [name for name, _ in requirements] == ["python-nmap", "rich", "typer"]
    for name, versions in requirements:
        assert carried[name] in SpecifierSet(versions)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_carries_the_licences_of_all_that_is_in_it(files: Path, command: str) -> None:
    with zipfile.ZipFile(str(files / command)) as archive:
        names = archive.namelist()

    distributions = {n.split("/")[0] for n in names if ".dist-info/" in n}
    locked = re.findall(r"^([\w-]+)==", BUNDLE.read_text(), re.M)
    carried = {re.split(r"-\d", d)[0].lower().replace("_", "-") for d in distributions}
    # python-nmap's distribution has no text of its licence; it is halfopen's, the GPL.
    assert carried == set(locked) - {"python-nmap"}
    assert "halfopen/LICENSE" in names


@pytest.fixture(scope="session")
def parts(files: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return check_tcp_half_open whole, without its compiled part, and with that part alone."""
    folder = tmp_path_factory.mktemp("parts")
    found = {"whole": files / "check_tcp_half_open"}
    with zipfile.ZipFile(str(found["whole"])) as archive:
        for part in ("sources", "compiled"):
            found[part] = folder / part
            with zipfile.ZipFile(str(found[part]), "w") as out:
                for name in archive.namelist():
                    if name == "__main__.py" or name.startswith("pyc-") == (part == "compiled"):
                        out.writestr(name, archive.read(name))
    return found


@pytest.mark.parametrize("version", PYTHONS)
def test_every_python_at_hand_checks_with_its_compiled_part_alone_and_without_it(
    parts: dict[str, Path], lab: Lab, version: str
) -> None:
    said = set()
    for part in parts.values():
        for form in FORMS.values():
            # As the first line has it, but for the Python.
            done = lab.run([PYTHONS[version], "-IS", str(part), *form])

            assert done.stdout.startswith(OPEN_LINE)
            assert (done.stdout.count("\n"), done.stderr, done.returncode) == (1, "", 0)
            said.add(re.sub(r"time=[\d.]+s", "time=", done.stdout))
    assert len(said) == 1


def test_an_older_python_is_told_and_is_unknown(plugin: str) -> None:
    old = "import runpy, sys; sys.version_info = (3, 6, 15); runpy.run_path({!r}, None, '__main__')"

    done = run(sys.executable, "-IS", "-c", old.format(plugin))

    said = "TCP HALF-OPEN UNKNOWN - this is Python 3.6; use 3.7 or later\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", said)


def test_help_is_plain(files: Path, plugin: str) -> None:
    done = run(sys.executable, "-IS", plugin, "--help")

    assert "[default: open]" in done.stdout
    assert "\\" not in done.stdout
    assert run(str(files / "halfopen"), "--version").stdout == f"halfopen {__version__}\n"


# All file systems are mounted anew as read-only, in a mount namespace of its own.
READ_ONLY = (
    "cut -d ' ' -f 5 /proc/self/mountinfo | sort -r | while read -r place; do "
    'mount -o remount,bind,ro "$place" 2>/dev/null; done; '
    "if (: >/tmp/written || : >/var/tmp/written || : >/dev/shm/written) 2>/dev/null; "
    'then echo writable; fi; exec "$@"'
)


@pytest.mark.parametrize(
    "within",
    [
        ["env", "-i"],
        ["sh", "-c", 'cd "$0"; PYTHONPATH=$0 exec "$@"', "FOLDER"],
        ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh"],
    ],
    ids=["no-environment", "callers-own-modules", "nothing-writable"],
)
def test_it_runs_by_its_name_alone_whatever_is_around_it(
    plugin: str, lab: Lab, tmp_path: Path, within: list[str]
) -> None:
    for name in ("halfopen", "nmap", "typer", "socket"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')")
    command = [str(tmp_path) if word == "FOLDER" else word for word in within]

    for form in FORMS.values():
        done = lab.run([*command, plugin, *form])

        assert done.stdout.startswith(OPEN_LINE)
        assert (done.stderr, done.returncode) == ("", 0)


# A /run of its own, in a mount namespace of its own.
NEW_RUN = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o mode=755 run /run; "$@"', "sh"]
TABLES = "/run/halfopen-nmap-tables"


def test_who_can_write_to_home_or_to_tmp_has_no_say_in_nmaps_tables(
    plugin: str, lab: Lab, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    for folder in (".nmap", Path(TABLES).name):
        (trap / folder).mkdir(parents=True)
        (trap / folder / "nmap-services").write_text("liar 25/tcp 1.0\n")
    log = tmp_path / "log"
    tracer = ["strace", "-f", "-qq", "-e", "trace=%file", "-o", str(log)]
    env = {**os.environ, "HOME": str(trap), "TMPDIR": str(trap), "XDG_RUNTIME_DIR": str(trap)}

    done = lab.run([*NEW_RUN, *tracer, plugin, "-v", *FORMS["two-words"]], env=env)

    assert done.stdout.startswith(OPEN_LINE)
    assert f" --datadir {TABLES} " in done.stdout
    calls = log.read_text()
    tables = re.findall(r'open(?:at)?\(.*?"([^"]*/nmap-(?:services|mac-prefixes))"', calls)
    made = re.findall(r'(?:mkdir|rename).*?"([^"]*)"|open.*"([^"]*)", .*O_CREAT', calls)
    assert f"{TABLES}/nmap-services" in tables
    for name in {*tables, *map("".join, made)} - {"/dev/null"}:  # where nmap's own log goes
        assert name.startswith(TABLES)
    assert str(trap) not in calls


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_nmaps_small_tables_are_for_root_alone(files: Path, lab: Lab, user: str) -> None:
    check = " ".join(["/run/check_tcp_half_open", "-v", *FORMS["options"]])
    rights = "--inh-caps=+net_raw --ambient-caps=+net_raw" if user != "root" else ""
    # From where another user can read it.
    copy = f"cp {files}/check_tcp_half_open /run"
    script = f"{copy}; {check}; exec setpriv --reuid={user} {rights} {check}"

    done = lab.run([*NEW_RUN, "sh", "-c", script])

    assert done.stdout.count(OPEN_LINE) == 2
    assert done.stdout.count(f" --datadir {TABLES} ") == (2 if user == "root" else 1)


def test_the_packages_install_and_run(tmp_path: Path, lab: Lab) -> None:
    build(ROOT, "dist.py", "packages", tmp_path / "dist")
    packages = sorted((tmp_path / "dist").iterdir())
    assert [package.suffix for package in packages] == [".whl", ".gz"]
    for package in packages:
        place = tmp_path / package.suffix
        venv.create(str(place), with_pip=True)
        pip = run(f"{place}/bin/pip", "install", "-qq", str(package))

        done = lab.run([f"{place}/bin/check_tcp_half_open", "-v", *FORMS["options"]])

        assert done.stdout.startswith(OPEN_LINE), pip.stderr
        assert "--datadir" in done.stdout, "the package's own tables are part of it"
