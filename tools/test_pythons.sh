#!/bin/sh
# Runs the unit tests, and the commands' tests on the single files, on each of the named Python
# versions that this machine has; not the unit tests on that of .venv, where `make test` runs them.
#
#   tools/test_pythons.sh 3.7 3.8 ...
set -eu
cd "$(dirname "$0")/.."

# Comparing the two parsers is a third of the unit tests' time, and the own version's is thorough.
export HALFOPEN_TEST_LINES=20

log=$(mktemp)
files=$(mktemp -d)
trap 'rm -rf "$log" "$files"' EXIT
tools/setup.sh dist
tools/setup.sh unit
own=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
.venv/bin/python tools/dist.py files "$files"

# The command of "$@" has 10 minutes, and its last line is shown; the whole log if it fails.
run() {
    what=$1
    shift
    if timeout 600 "$@" </dev/null >"$log" 2>&1; then
        printf 'Python %s, %s: %s\n' "$version" "$what" "$(tail -n 1 "$log" | tr -d =)"
    else
        cat "$log"
        failed="$failed $version ($what)"
    fi
}

ran='' absent='' failed=''
for version in "$@"; do
    venv=.venv
    if [ "$version" != "$own" ]; then
        venv=.venv-$version
        if ! python=$(tools/which_python.sh "$version"); then
            absent="$absent $version"
            continue
        fi
        PYTHON=$python VENV=$venv tools/setup.sh unit
    fi
    ran="$ran $version"
    # One cache folder for all versions would only confuse.
    set -- "./$venv/bin/python" -m pytest -p no:cacheprovider -n 4 --dist loadfile --tb=short --maxfail=3
    [ "$version" = "$own" ] || run 'unit tests' "$@" tests/unit
    HALFOPEN_FILES=$files run 'single files' "$@" tests/unit/test_process.py
done

[ -z "$absent" ] || printf 'Not on this machine:%s\n' "$absent"
[ -n "$ran" ] || { echo 'None of these versions is on this machine.' >&2; exit 1; }
[ -z "$failed" ] || { printf 'Failed on Python:%s\n' "$failed" >&2; exit 1; }
