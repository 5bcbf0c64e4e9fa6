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
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator, Mapping, Sequence

import dist
import pytest
from lab import TARGET, TOOL_PATH, Finished, Lab

from halfopen import __version__
from halfopen.formats.registry import FORMATS
from halfopen.model import Status

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.fixture(scope="module", autouse=True)
def _able() -> None:
    absent = [name for name in NEEDS if not shutil.which(name, path=TOOL_PATH)]
    if absent:
        pytest.skip("needs " + ", ".join(absent))


def _run(
    argv: Sequence[str], timeout: float = 300, env: Mapping[str, str] | None = None
) -> Finished[str]:
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=env,
        check=False,
    )


def _must(done: Finished[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# -- the package itself ----------------------------------------------------------------------------


def _build(tree: Path, folder: Path, **env: str) -> Path:
    # The package's sources are those of the tree, wherever the tests import theirs from.
    env = {**os.environ, "PYTHONPATH": str(tree), "SOURCE_DATE_EPOCH": EPOCH, **env}
    _must(_run([sys.executable, "-B", str(tree / "tools/make_deb.py"), str(folder)], 900, env))
    (package,) = folder.iterdir()
    return package


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of this checkout, so that all builds have the same."""
    tree = tmp_path_factory.mktemp("sources") / "halfopen"
    unwanted = shutil.ignore_patterns(
        "__pycache__", ".*", "*.egg-info", "build", "dist", "recorded", "synthetic", "tests"
    )
    shutil.copytree(str(ROOT), str(tree), ignore=unwanted)
    return tree


@pytest.fixture(scope="module")
def package(_able: None, sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(sources, tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    _must(_run(["dpkg-deb", "--extract", str(package), str(folder)]))
    return folder


def test_version_is_that_of_halfopen(package: Path, unpacked: Path) -> None:
    assert package.name == f"halfopen_{__version__}_all.deb"
    fields = ["Package", "Version", "Architecture"]
    said = _must(_run(["dpkg-deb", "--field", str(package), *fields]))
    assert said == f"Package: halfopen\nVersion: {__version__}\nArchitecture: all\n"
    for command in dist.COMMANDS:
        assert f"halfopen {__version__} " in _page(unpacked, command).splitlines()[-1]


def test_lintian_has_nothing_to_say(package: Path) -> None:
    strict = ["--allow-root", "--display-info", "--pedantic", "--display-experimental"]
    done = _run(["lintian", *strict, "--fail-on=error,warning,info,pedantic", str(package)])
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_same_sources_give_the_same_bytes_elsewhere(
    package: Path, sources: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "another" / "place"
    shutil.copytree(str(sources), str(tree))
    for path in tree.rglob("*"):
        os.utime(str(path), (1e9, 1e9))  # long before EPOCH: dpkg itself mends only what is later
    before = os.umask(0o077)
    try:
        again = _build(tree, tmp_path / "out", TZ="Asia/Tokyo", LC_ALL="C", DEB_BUILD_OPTIONS="x")
    finally:
        os.umask(before)
    assert again.read_bytes() == package.read_bytes()


def test_copyright_names_a_licence_for_each_module_that_comes_along(unpacked: Path) -> None:
    text = (unpacked / "usr/share/doc/halfopen/copyright").read_text(encoding="utf-8")
    patterns = re.findall(r"^Files: (usr/share/halfopen/\S+)$", text, re.MULTILINE)
    files = [
        path.relative_to(unpacked).as_posix()
        for path in (unpacked / "usr/share/halfopen").rglob("*")
        if path.is_file()
    ]
    for name in files:
        own = name.startswith("usr/share/halfopen/halfopen/")
        assert own or any(fnmatch.fnmatchcase(name, each) for each in patterns), name
    for pattern in patterns:
        assert fnmatch.filter(files, pattern), pattern
    for stanza in text.split("\n\n"):
        if stanza.startswith("Files:"):
            assert re.search(r"^Copyright: *\w", stanza, re.MULTILINE), stanza
            licence = re.findall(r"^License: (\S+)", stanza, re.MULTILINE)[0]
            # Its text is here, or in a stanza of its own.
            assert re.search(rf"^License: {re.escape(licence)}\n \w", text, re.MULTILINE), licence


def test_examples_name_the_commands_where_the_package_has_them(unpacked: Path) -> None:
    examples = unpacked / "usr/share/doc/halfopen/examples"
    named = set()
    for path in examples.rglob("*"):
        if path.is_file() and path.parent.name != "kubernetes":  # that is inside of an image
            text = path.read_text(encoding="utf-8")
            found = re.findall(r"/usr/[\w/.-]*/(?:halfopen|check_tcp_half_open)(?![\w/.-])", text)
            named.update(found)
    assert named == {"/usr/bin/halfopen", PLUGIN}
    for path in examples.rglob("*"):
        original = ROOT / "examples" / path.relative_to(examples)
        assert path.stat().st_mode & stat.S_IXUSR == original.stat().st_mode & stat.S_IXUSR, path


# -- the man pages ---------------------------------------------------------------------------------

OPTION = r"--?[A-Za-z0-9][\w-]*"
HEADING = r"^([A-Z ]+)$"


def _page(unpacked: Path, name: str, *flags: str) -> str:
    """Return a man page as it is read, 100 columns wide; fail if man warns."""
    file = unpacked / "usr/share/man/man1" / f"{name}.1.gz"
    environment = {**ENVIRONMENT, "MANWIDTH": "100"}
    done = _run(["man", "--warnings", "-E", "UTF-8", *flags, "-l", str(file)], env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def _sections(page: str, head: str) -> dict[str, str]:
    """Return the texts between the lines that match: the matched group to the text below it."""
    parts = re.split(head, page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def _help(unpacked: Path, command: str, *words: str) -> str:
    """Return what a command's start script says, from the unpacked package."""
    script = (unpacked / "usr/bin" / command).read_text()
    assert script.startswith("#! /usr/bin/python3 -IS\n")
    script = script.replace("/usr/share/", f"{unpacked}/usr/share/")
    environment = {**ENVIRONMENT, "COLUMNS": "100"}
    argv = ["/usr/bin/python3", "-I", "-S", "-c", script, *words, "--help"]
    return _run(argv, env=environment).stdout


def _of_help(said: str) -> set[str]:
    # The options stand two columns in, and what they do at least two columns further on.
    options = _sections(said, r"^(\w+):$")["Options"]
    heads = re.findall(r"^  (-.*?)(?:  .*)?$", options, re.MULTILINE)
    return {option for head in heads for option in re.findall(rf"(?<![\w-]){OPTION}", head)}


def _of_page(text: str) -> set[str]:
    heads = re.findall(rf"^ {{7}}({OPTION}(?:, {OPTION})*)", text, re.MULTILINE)
    return {option for head in heads for option in head.split(", ")}


def test_man_pages_have_the_commands_and_options_of_the_help(unpacked: Path) -> None:
    for name in dist.COMMANDS:
        options = _sections(_page(unpacked, name), HEADING)["OPTIONS"]
        assert "--help" in _of_page(options)
        assert _of_page(options) == _of_help(_help(unpacked, name))
    sections = _sections(_page(unpacked, "halfopen"), HEADING)
    listed = _sections(_help(unpacked, "halfopen"), r"^(\w+):$")["Commands"].split("\n\n")[0]
    commands = re.findall(r"^  (\w+) ", listed, re.MULTILINE)
    pages = _sections(sections["COMMANDS"], r"^   (\w+)$")
    assert list(pages) == commands
    for command in commands:
        assert _of_page(pages[command]) == _of_help(_help(unpacked, "halfopen", command)), command
    assert re.findall(r"halfopen (\w+)", sections["SYNOPSIS"]) == commands


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
        """Take a root that is there."""
        self.folder = folder

    def argv(self, argv: Sequence[str]) -> list[str]:
        """Return the arguments that run a program in it, alone with its processes."""
        own = ["--mount", "--pid", "--fork", "--kill-child", f"--root={self.folder}"]
        return ["unshare", *own, "--mount-proc", "--wd=/", *argv]

    def run(self, argv: Sequence[str], timeout: float = 300) -> Finished[str]:
        """Run a program with this system's network."""
        return _run(self.argv(argv), timeout, ENVIRONMENT)

    def path(self, path: str) -> Path:
        """Return where a file of it lies."""
        return self.folder / path.lstrip("/")

    def packages(self) -> set[str]:
        """Return the names of the packages that are there, if only in part."""
        words = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n"]
        return {line for line in _must(self.run(words)).splitlines() if "not-installed" not in line}

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


def _apt(debian: Debian, *words: str) -> str:
    return _must(debian.run(["apt-get", "--yes", "--no-install-recommends", *words], 900))


@pytest.fixture(scope="module")
def debian(lab: Lab, package: Path) -> Iterator[Debian]:  # noqa: ARG001  it skips without root
    """Return a Debian with what the package says that it depends on."""
    release = '. /etc/os-release; [ "$ID" != debian ] || echo "$VERSION_CODENAME"'
    suite = _must(_run(["sh", "-c", release])).strip()
    if not suite:
        pytest.skip("needs Debian, of which a release's name is known")
    words = [str(ROOT / "tools/debian_root.sh"), suite]
    bare = _must(_run(words, 1500, {**os.environ, **ENVIRONMENT})).strip()
    # tests/hosts removes such a folder when a killed run has left it behind.
    folder = tempfile.mkdtemp(prefix=f"halfopen-debian-{os.getpid()}-", dir=VAR_TMP)
    try:
        _must(_run(["tar", "--numeric-owner", "-C", folder, "-xpf", bare]))
        os.chmod(folder, 0o755)  # noqa: S103  apt downloads as a user of its own
        made = Debian(Path(folder))
        # As debootstrap was: what this system needs to reach its mirror.
        settings = _must(_run(["apt-config", "dump"])).splitlines()
        kept = [line for line in settings if re.match("Acquire::(?!IndexTargets)", line)]
        made.path("/etc/apt/apt.conf").write_text("\n".join(kept) + "\n")
        made.path("/etc/dpkg/dpkg.cfg.d/fast").write_text("force-unsafe-io\n")
        for name in ("/etc/hosts", "/etc/resolv.conf"):
            shutil.copy(name, str(made.path(name)))
        assert not {"nmap installed", "python3 installed"} & made.packages()
        _apt(made, "update")
        _apt(made, "satisfy", _must(_run(["dpkg-deb", "--field", str(package), "Depends"])).strip())
        yield made
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def before(debian: Debian) -> dict[str, str]:
    return debian.files()


@pytest.fixture(scope="module")
def installed(debian: Debian, before: dict[str, str], package: Path) -> Debian:
    assert before  # and listed before the package comes
    there = debian.packages()
    shutil.copy(str(package), str(debian.folder))
    _apt(debian, "install", f"/{package.name}")
    debian.path(package.name).unlink()
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
    modules = list(installed.path("/usr/share/halfopen").rglob("*.py"))
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
    python = os.readlink(str(installed.path("/usr/bin/python3")))
    # A sitecustomize there would not be read: Debian has its own, which is found first.
    local = f"/usr/local/lib/{python}/dist-packages/liar.pth"
    for place in ("/root/liar/typing.py", local):
        installed.path(place).parent.mkdir(parents=True, exist_ok=True)
        installed.path(place).write_text("import os; os._exit(0)\n")
    try:
        script = f'cd /root/liar; PYTHONPATH=/root/liar exec {PLUGIN} "$@"'
        words = ["sh", "-c", script, "sh", TARGET[4], "26"]
        assert _check(installed, lab, words)[0] == 2
    finally:
        installed.path(local).unlink()
        shutil.rmtree(str(installed.path("/root/liar")))


def test_documents_are_where_they_are_looked_for(installed: Debian) -> None:
    there = _must(installed.run(["dpkg", "--listfiles", "halfopen"])).splitlines()
    for path in (
        "/usr/share/man/man1/halfopen.1.gz",
        "/usr/share/man/man1/check_tcp_half_open.1.gz",
        "/usr/share/bash-completion/completions/halfopen",
        "/usr/share/zsh/vendor-completions/_check_tcp_half_open",
        "/usr/share/fish/vendor_completions.d/halfopen.fish",
        "/usr/share/doc/halfopen/README.md",
        "/usr/share/doc/halfopen/CHANGELOG.md",
        "/usr/share/doc/halfopen/copyright",
        "/usr/share/doc/halfopen/examples/nagios/half_open.cfg",
    ):
        assert path in there
        assert installed.path(path).stat().st_size > 0


def test_every_link_of_a_page_leads_to_a_file(installed: Debian) -> None:
    folder = installed.path("/usr/share/doc/halfopen")
    links = [
        (page, link)
        for page in folder.rglob("*.md")
        for link in re.findall(r'(?:\]\(|src=")([^)#"\s:]+)[)#"]', page.read_text(encoding="utf-8"))
    ]

    assert len(links) > 100
    assert [str(pair) for pair in links if not (pair[0].parent / pair[1]).exists()] == []


# The last one, for it takes the package away.
def test_purge_leaves_nothing_behind(installed: Debian, before: dict[str, str]) -> None:
    said = _apt(installed, "purge", "halfopen")
    assert "not empty" not in said
    assert not any(line.startswith("halfopen ") for line in installed.packages())
    # Whatever was added, changed or lost.
    assert set(installed.files().items()) ^ set(before.items()) == set()
