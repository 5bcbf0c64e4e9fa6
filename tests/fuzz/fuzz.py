"""Coverage-guided fuzzing (atheris) of the XML reader and of the parser of words.

    fuzz.py xml|words [OPTION...] CORPUS
    fuzz.py xml|words FILE

Options are libFuzzer's. Begins with the fixtures, and with what earlier runs found in the folder
CORPUS. The first input that breaks an invariant ends the run with an exit code other than 0; the
second form tries it again.
"""

import os
import sys
from pathlib import Path
from random import Random

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["halfopen", "nmap"]):
    from support.invariants import (
        FORMS,
        XML_FILES,
        check_file,
        check_words,
        check_xml,
        is_address,
        mutated,
    )

KIND, *OPTIONS = sys.argv[1:]
CORPUS = Path(OPTIONS[-1])
SCRATCH = str(CORPUS.parent / "scratch")
RECORDINGS = [file.read_bytes() for file in XML_FILES]

WORDS = [
    b"\0\x00192.0.2.1\0192.0.2.25\00025",
    b"\1\x00fe80::1%eth0\0NOT_USED\0x\0mail.example\0smtp",
    b"\2\x01::ffff:192.0.2.1\0mail.example\00080",
    b"\3\x02::1\0[2001:db8::25]:25\0fe80::25%eth0\00025\0web:80",
    b"\4\x00192.0.2.1\0web 1 = 192.0.2.11:443 # x\r\n[2001:db8::25]:25\n",
]
"""Seeds: which form, which family, the resolver's answer, words; NUL is in between, as in argv."""


def fuzz_xml(data: bytes) -> None:
    check_xml(data, SCRATCH)


def change_xml(data: bytes, max_size: int, seed: int) -> bytes:
    """Change XML as such, or else, as libFuzzer knows how, bytes."""
    random = Random(seed)  # noqa: S311  no secret
    if random.randrange(4):
        return mutated(data, random.choice(RECORDINGS), random)[:max_size]
    changed: bytes = atheris.Mutate(data, max_size)
    return changed


def fuzz_words(data: bytes) -> None:
    """Parse words, or a targets file, and look at what nmap would be told."""
    form, family = data[0:1], (None, 4, 6, None)[data[1] % 4 if len(data) > 1 else 0]
    answer, _, rest = data[2:].partition(b"\0")
    known = os.fsdecode(answer) if is_address(os.fsdecode(answer)) else "192.0.2.1"
    names = list(FORMS)
    number = form[0] % (len(names) + 1) if form else 0
    if number == len(names):
        check_file(rest, SCRATCH, family, known)
    else:
        check_words(names[number], [os.fsdecode(word) for word in rest.split(b"\0")], family, known)


def main() -> None:
    os.environ.pop("HAPROXY_SERVER_ADDR", None)
    if CORPUS.is_dir():
        for number, seed in enumerate(RECORDINGS if KIND == "xml" else WORDS):
            (CORPUS / f"seed-{number}").write_bytes(seed)
    words = [sys.argv[0], *OPTIONS]
    if KIND == "xml":
        atheris.Setup(words, fuzz_xml, custom_mutator=change_xml)
    else:
        atheris.Setup(words, fuzz_words)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
