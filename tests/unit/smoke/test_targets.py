"""The ports and hosts that `halfopen smoke` makes: real ones, on loopback."""

from __future__ import annotations

import os

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


@pytest.mark.parametrize(
    ("user", "missing", "message"),
    [
        (1000, "", "needs root"),
        (0, "ip", "ip not found; install iproute2"),
        (0, "nsenter", "nsenter not found; install util-linux"),
        (0, "", "ip link add eth0 .* failed: .* option|this system allows no network namespaces"),
    ],
)
def test_a_second_host_that_cannot_be_made_is_explained(
    monkeypatch: pytest.MonkeyPatch, user: int, missing: str, message: str
) -> None:
    def find(name: str, advice: str) -> str:
        if name == missing:
            raise CheckError(f"{name} not found; {advice}")
        return "/bin/ls"  # it has none of the options

    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr("halfopen.scan.process.find_program", find)
    with pytest.raises(CheckError, match=message), targets.second_host():
        pass
