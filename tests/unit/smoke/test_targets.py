"""The ports and hosts that `halfopen smoke` makes: real ones, on loopback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from halfopen.errors import CheckError
from halfopen.smoke import targets


@pytest.mark.parametrize("state", ["open", "closed", "filtered"])
def test_a_port_is_in_the_state_that_it_was_made_in(state: str) -> None:
    with targets.make_port(state, 4) as port:
        assert (port.address, port.number > 0) == ("127.0.0.1", True)
        assert targets.connect(port) == state
        assert port.connected(wait=True) is (state != "closed")  # its own fills a filtered one
        assert not port.connected()
        assert not port.waiting()


def test_a_port_can_be_named_and_is_refused_where_it_is_taken() -> None:
    with targets.make_port("open", 4) as port:
        again = targets.make_port("open", 4, port.number)
        with pytest.raises(OSError, match="in use"), again:
            pass


@pytest.mark.parametrize(
    ("user", "missing", "message"),
    [
        (1000, "", "needs root"),
        (0, "ip", "ip not found; install iproute2"),
        (0, "nsenter", "nsenter not found; install util-linux"),
        (0, "", "ip link add eth0 .* failed: not here|this system allows no network namespaces"),
    ],
)
def test_a_second_host_that_cannot_be_made_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, user: int, missing: str, message: str
) -> None:
    refuses = tmp_path / "refuses"
    refuses.write_text("#!/bin/sh\necho not here >&2\nexit 1\n")
    refuses.chmod(0o755)

    def find(name: str, advice: str) -> str:
        if name == missing:
            raise CheckError(f"{name} not found; {advice}")
        return str(refuses)

    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr("halfopen.scan.process.find_program", find)
    with pytest.raises(CheckError, match=message), targets.second_host():
        pass
