"""The kinds of failure that are ours to report; each one's text is one line for the user."""


class HalfopenError(Exception):
    """The check itself failed; the text says what happened and what to do about it."""

    place = ""
    """FILE:LINE, if the error is about a line of a file."""

    def __init__(self, text: str) -> None:
        # Words from outside may hold line ends; the text is one line.
        super().__init__(text.replace("\n", "\\n"))


class UsageError(HalfopenError):
    """A word from outside is not what it has to be; raised before nmap starts."""


class LineError(UsageError):
    """A line of a targets file is bad."""

    def __init__(self, source: str, number: int, text: str) -> None:
        super().__init__(f"{source}, line {number}: {text}")
        self.place = f"{source}:{number}"


class CheckError(HalfopenError):
    """No answer about the asked port could be had, through no fault of the target's."""


class NoTimeError(CheckError):
    """The time limit came first; the text says so, and names the option that gives more."""


class RefusedError(CheckError):
    """The firewall of this machine itself kept nmap's packets in."""


class UnnamedRefusalError(RefusedError):
    """It kept some in, of a run about several targets, and nmap names no more which."""


class HopelessError(CheckError):
    """What waiting can't mend: nmap is not there, or is no program."""


class NotAllowedError(HopelessError):
    """nmap, or sudo, may not do it: the way out is in the text."""
