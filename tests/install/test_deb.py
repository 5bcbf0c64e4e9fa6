"""The Debian package: built, looked at, and used in a bare Debian of this machine's own release.

tools/debian_root.sh makes that Debian, once for all runs. Programs run in it with process and mount
namespaces of their own, checks in the lab's network.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Iterator, Mapping, Sequence

import dist
import pytest
from lab import TARGET, TOOL_PATH, Finished, Lab
from support.machine import run

from halfopen import __version__
from halfopen.cli import options
from halfopen.formats.registry import FORMATS
from halfopen.model import Status

from .conftest import ROOT, build, build_elsewhere, copy

NEEDS = ("dpkg-buildpackage", "dh", "dh_python3", "lintian", "man", "debootstrap")
EPOCH = "1700000000"
VAR_TMP = "/var/tmp"  # noqa: S108  only mkdtemp writes there; /tmp may be mounted nodev
# The clean environment of a service, and the way to the mirror.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    **{name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")},
}
PLUGIN = "/usr/lib/nagios/plugins/check_tcp_half_open"


ABSENT = [name for name in NEEDS if not shutil.which(name, path=TOOL_PATH)]
pytestmark = pytest.mark.skipif(bool(ABSENT), reason=f"needs {', '.join(ABSENT)}")


def _must(
    argv: Sequence[str], timeout: float = 300, env: Mapping[str, str] | None = None
) -> Finished[str]:
    done = run(argv, timeout, env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


# -- the package itself ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of this checkout, so that all builds have the same."""
    return copy(ROOT, tmp_path_factory.mktemp("sources") / "halfopen")


@pytest.fixture(scope="module")
def package(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deb")
    build(sources, "make_deb.py", folder, SOURCE_DATE_EPOCH=EPOCH)
    (package,) = folder.iterdir()
    return package


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    _must(["dpkg-deb", "--extract", str(package), str(folder)])
    return folder


def test_version_is_that_of_halfopen(package: Path, unpacked: Path) -> None:
    assert package.name == f"halfopen_{__version__}_all.deb"
    fields = ["Package", "Version", "Architecture"]
    said = _must(["dpkg-deb", "--field", str(package), *fields]).stdout
    assert said == f"Package: halfopen\nVersion: {__version__}\nArchitecture: all\n"
    for command in dist.COMMANDS:
        assert f"halfopen {__version__} " in _page(unpacked, command).splitlines()[-1]


def test_lintian_has_nothing_to_say(package: Path) -> None:
    strict = ["--allow-root", "--display-info", "--pedantic", "--display-experimental"]
    fail = "--fail-on=error,warning,info,pedantic"
    assert _must(["lintian", *strict, fail, str(package)]).stdout == ""


def test_same_sources_give_the_same_bytes_elsewhere(
    package: Path, sources: Path, tmp_path: Path
) -> None:
    callers = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "DEB_BUILD_OPTIONS": "x"}
    words = "make_deb.py", tmp_path / "out"
    build_elsewhere(sources, tmp_path / "place", *words, SOURCE_DATE_EPOCH=EPOCH, **callers)
    assert (tmp_path / "out" / package.name).read_bytes() == package.read_bytes()


def test_copyright_names_a_licence_for_each_module_that_comes_along(unpacked: Path) -> None:
    text = (unpacked / "usr/share/doc/halfopen/copyright").read_text(encoding="utf-8")
    patterns = re.findall(r"^Files: usr/share/halfopen/(\S+)$", text, re.MULTILINE)
    folder = unpacked / "usr/share/halfopen"
    files = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    named = {name for each in patterns for name in fnmatch.filter(files, each)}
    assert {name for name in files if not name.startswith("halfopen/")} == named
    assert all(fnmatch.filter(files, each) for each in patterns)
    for stanza in re.findall(r"^Files:(?:.+\n)+", text, re.MULTILINE):
        assert re.search(r"^Copyright: *\w", stanza, re.MULTILINE), stanza
        licence = re.findall(r"^License: (\S+)", stanza, re.MULTILINE)[0]
        # Its text is here, or in a stanza of its own.
        assert re.search(rf"^License: {re.escape(licence)}\n \w", text, re.MULTILINE), licence


def test_examples_name_the_commands_where_the_package_has_them(unpacked: Path) -> None:
    examples = unpacked / "usr/share/doc/halfopen/examples"
    named = set()
    for path in filter(Path.is_file, examples.rglob("*")):
        original = ROOT / "examples" / path.relative_to(examples)
        assert path.stat().st_mode & stat.S_IXUSR == original.stat().st_mode & stat.S_IXUSR, path
        if path.parent.name != "kubernetes":  # that is inside of an image
            text = path.read_text(encoding="utf-8")
            named |= set(re.findall(r"/usr/[\w/.-]*/(?:halfopen|check_tcp_\w+)(?![\w/.-])", text))
    assert named == {"/usr/bin/halfopen", PLUGIN}


# -- the man pages ---------------------------------------------------------------------------------

HEADING = r"^([A-Z ]+)$"


def _page(unpacked: Path, name: str) -> str:
    """Return a man page as it is read, 100 columns wide; fail if man warns."""
    file = unpacked / "usr/share/man/man1" / f"{name}.1.gz"
    environment = {**ENVIRONMENT, "MANWIDTH": "100"}
    done = _must(["man", "--warnings", "-E", "UTF-8", "-l", str(file)], env=environment)
    assert done.stderr == ""
    return done.stdout


def _sections(page: str, head: str) -> dict[str, str]:
    """Return the texts between the lines that match: the matched group to the text below it."""
    parts = re.split(head, page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def _options(text: str) -> set[str]:
    heads = re.findall(r"^ {7}(-[\w-]+(?:, -[\w-]+)*)", text, re.MULTILINE)
    return {option for head in heads for option in head.split(", ")}


def test_man_pages_have_the_commands_and_options_that_are_declared(unpacked: Path) -> None:
    everywhere = {"--help", "-h", "--version", "-V"}
    plugin = _sections(_page(unpacked, PLUGIN.rpartition("/")[2]), HEADING)["OPTIONS"]
    assert _options(plugin) == everywhere.union(*(o.names for o in options.PLUGIN.options))
    page = _sections(_page(unpacked, "halfopen"), HEADING)
    assert _options(page["OPTIONS"]) == everywhere
    assert re.findall(r"halfopen (\w+)", page["SYNOPSIS"]) == list(options.COMMANDS)
    commands = _sections(page["COMMANDS"], r"^   (\w+)$")
    assert list(commands) == list(options.COMMANDS)
    for name, command in options.COMMANDS.items():
        declared = everywhere.union(*(option.names for option in command.options))
        assert _options(commands[name]) == declared, name


@pytest.mark.parametrize("name", dist.COMMANDS)
def test_man_page_has_the_exit_codes_that_the_commands_have(unpacked: Path, name: str) -> None:
    text = _sections(_page(unpacked, name), HEADING)["EXIT STATUS"]
    rows = re.findall(r"^ +(\w+) +(\d+) +(\d+) +(\d+) +(\d+) ", text, re.MULTILINE)
    states = (Status.OK, Status.CRITICAL, Status.CRITICAL, Status.UNKNOWN)
    assert rows == [
        (format_name, *(str(about.codes[status]) for status in states))
        for format_name, about in FORMATS.items()
    ]


# -- in a Debian of its own ------------------------------------------------------------------------


class Debian:
    """A Debian with what the package depends on, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before: dict[str, str] = {}

    def argv(self, argv: Sequence[str]) -> list[str]:
        """Return the arguments that run a program in it, alone with its processes."""
        own = ["--mount", "--pid", "--fork", "--kill-child", f"--root={self.folder}"]
        return ["unshare", *own, "--mount-proc", "--wd=/", *argv]

    def run(self, *argv: str) -> str:
        return _must(self.argv(argv), 900, ENVIRONMENT).stdout

    def apt(self, *words: str) -> str:
        return self.run("apt-get", "--yes", "--no-install-recommends", *words)

    def packages(self) -> set[str]:
        """Return the names of the packages that are there, if only in part."""
        form = "--showformat=${Package} ${db:Status-Status}\\n"
        listed = self.run("dpkg-query", "--show", form).splitlines()
        return {line for line in listed if "not-installed" not in line}

    def files(self) -> dict[str, str]:
        """Return all files but apt's and dpkg's own books: path to what is in it."""
        books = ("var/lib/dpkg/", "var/lib/apt/", "var/cache/apt/", "var/log/", "proc/", "dev/")
        found = {}
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            if not name.startswith(books):
                link = os.readlink(str(path)) if path.is_symlink() else ""
                data = path.read_bytes() if path.is_file() and not link else b""
                digest = hashlib.sha256(data).hexdigest()
                found[name] = f"{path.lstat().st_mode:o} {link} {digest}"
        return found


@pytest.fixture(scope="module")
def debian(package: Path) -> Iterator[Debian]:
    """Return a Debian with what the package says that it depends on."""
    release = '. /etc/os-release; [ "$ID" != debian ] || echo "$VERSION_CODENAME"'
    suite = _must(["sh", "-c", release]).stdout.strip()
    if not suite:
        pytest.skip("needs Debian, of which a release's name is known")
    # tests/hosts removes such a folder when a killed run has left it behind.
    folder = tempfile.mkdtemp(prefix=f"halfopen-debian-{os.getpid()}-", dir=VAR_TMP)
    try:
        words = [str(ROOT / "tools/debian_root.sh"), suite, folder]
        _must(words, 1500, {**os.environ, **ENVIRONMENT})
        made = Debian(Path(folder))
        (made.folder / "etc/dpkg/dpkg.cfg.d/fast").write_text("force-unsafe-io\n")
        assert not {"nmap installed", "python3 installed"} & made.packages()
        made.apt("update")
        needed = _must(["dpkg-deb", "--field", str(package), "Depends"]).stdout
        made.apt("satisfy", needed.strip())
        made.before = made.files()
        yield made
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def installed(debian: Debian, package: Path) -> Debian:
    there = debian.packages()
    shutil.copy(str(package), str(debian.folder))
    debian.apt("install", f"/{package.name}")
    (debian.folder / package.name).unlink()
    assert debian.packages() - there == {"halfopen installed"}
    return debian


def _check(debian: Debian, lab: Lab, argv: Sequence[str]) -> tuple[int, str]:
    done = lab.run(debian.argv(argv), env=ENVIRONMENT, timeout=120)
    assert done.stderr == ""
    return done.returncode, done.stdout


CHECK = ["check_tcp_half_open", TARGET[4]]
SMOKE = ["halfopen", "smoke", "--verbose", "--timeout", "60"]


@pytest.mark.parametrize(
    ("argv", "codes", "said"),
    [
        ([*CHECK, "25"], {0}, rf"^TCP HALF-OPEN OK - {TARGET[4]}:25 open \(syn-ack\)"),
        ([*CHECK, "26"], {2}, rf"^TCP HALF-OPEN CRITICAL - {TARGET[4]}:26 closed \(reset\)"),
        ([PLUGIN, TARGET[4], "25"], {0}, "^TCP HALF-OPEN OK - "),
        (["halfopen", "--version"], {0}, rf"^halfopen {re.escape(__version__)}$"),
        (["halfopen", "wait", f"{TARGET[4]}:25", "--timeout", "60"], {0}, "^open after "),
        # 3: this Debian has no ip to make a second host with.
        (SMOKE, {0, 3}, r"(?s)^means +raw sockets +ok +as root$.*^states +open port, IPv4,.* ok"),
    ],
    ids=lambda value: value[0] + value[-1] if isinstance(value, list) else "",
)
def test_commands_run(
    installed: Debian, lab: Lab, argv: list[str], codes: set[int], said: str
) -> None:
    code, found = _check(installed, lab, argv)
    assert code in codes, found
    assert re.search(said, found, re.MULTILINE), found


def test_modules_are_compiled_once_and_for_all(installed: Debian, lab: Lab) -> None:
    modules = list((installed.folder / "usr/share/halfopen").rglob("*.py"))
    assert modules
    for module in modules:
        compiled = list((module.parent / "__pycache__").glob(f"{module.stem}.cpython-*.pyc"))
        assert len(compiled) == 1, module
    there = installed.files()
    # As root, who might write.
    assert _check(installed, lab, [PLUGIN, "--help"])[0] == 3
    assert _check(installed, lab, [PLUGIN, TARGET[4], "25"])[0] == 0
    assert installed.files() == there


def test_nobody_elses_modules_have_a_say(installed: Debian, lab: Lab) -> None:
    python = os.readlink(str(installed.folder / "usr/bin/python3"))
    # A sitecustomize there would not be read: Debian has its own, which is found first.
    local = installed.folder / f"usr/local/lib/{python}/dist-packages/liar.pth"
    liar = installed.folder / "root/liar/typing.py"
    for place in (liar, local):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("import os; os._exit(0)\n")
    try:
        script = f'cd /root/liar; PYTHONPATH=/root/liar exec {PLUGIN} "$@"'
        words = ["sh", "-c", script, "sh", TARGET[4], "26"]
        assert _check(installed, lab, words)[0] == 2
    finally:
        local.unlink()
        shutil.rmtree(str(liar.parent))


@pytest.mark.parametrize(
    "file", list((ROOT / "packaging/completion").glob("*/*")), ids=lambda path: path.name
)
def test_each_shell_finds_its_completion(installed: Debian, file: Path) -> None:
    (there,) = (installed.folder / "usr/share").glob(
        f"{file.parent.name}*/*completions*/{file.name}"
    )
    assert there.read_text() == file.read_text()


def test_every_link_of_a_page_leads_to_a_file(installed: Debian) -> None:
    folder = installed.folder / "usr/share/doc/halfopen"
    links = [
        (page, link)
        for page in folder.rglob("*.md")
        for link in re.findall(r'(?:\]\(|src=")([^)#"\s:]+)[)#"]', page.read_text(encoding="utf-8"))
    ]

    assert len(links) > 100
    assert [str(pair) for pair in links if not (pair[0].parent / pair[1]).exists()] == []


# The last one, for it takes the package away.
def test_purge_leaves_nothing_behind(installed: Debian) -> None:
    said = installed.apt("purge", "halfopen")
    assert "not empty" not in said
    assert not any(line.startswith("halfopen ") for line in installed.packages())
    # Whatever was added, changed or lost.
    assert set(installed.files().items()) ^ set(installed.before.items()) == set()
