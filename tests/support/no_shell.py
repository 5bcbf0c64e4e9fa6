"""A machine on which each shell is a trap, and then no file can be written."""

from __future__ import annotations

from typing import Sequence

from support.machine import WEB1, Machine

TEMPORARY = ("/tmp", "/run")  # noqa: S108  a machine's own, to be made unwritable
SHELLS = ("sh", "bash", "dash", "rbash")


def assert_no_shell_and_nothing_written(machine: Machine, words: Sequence[str]) -> None:
    """Run a command that is to succeed; in place of the shells is a fake that gives them away."""
    machine.write("/etc/hosts", f"127.0.0.1 localhost\n{WEB1} web1.example\n")
    machine.write("/var/shells", "", 0o666)
    trap = "#!/usr/bin/python3 -I\nimport sys\nopen('/var/shells', 'a').write(repr(sys.argv))\n"
    for shell in SHELLS:
        machine.path("/usr/bin", shell).unlink()
        machine.write(f"/usr/bin/{shell}", trap, 0o755)
    assert machine.run(["sh", "-c", "true"]).returncode == 0
    assert machine.read("/var/shells") == "['/usr/bin/sh', '-c', 'true']"
    machine.write("/var/shells", "", 0o666)

    done = machine.run(words, timeout=100)
    assert done.returncode == 0, done
    assert machine.read("/var/shells") == ""

    places = ["/", *TEMPORARY]
    for place in places:
        how = "remount,bind,ro" if place == "/" else "remount,ro"
        assert machine.run(["mount", "-o", how, place]).returncode == 0
    for place in [*places, "/var/tmp", "/root"]:  # noqa: S108  nothing is to be written there
        assert machine.run(["touch", f"{place}/x"]).returncode == 1
    done = machine.run(words, timeout=100)
    assert done.returncode == 0, done
