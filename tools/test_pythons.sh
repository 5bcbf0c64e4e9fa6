#!/bin/sh
# Runs the unit tests, and the commands' tests on the single files, on each of the named Python
# versions that this machine has; not the unit tests on that of .venv, where `make test` runs them.
#
#   tools/test_pythons.sh 3.7 3.8 ...
set -eu
cd "$(dirname "$0")/.."

# Comparing the two parsers is a third of the unit tests' time, and the own version's is thorough.
export HALFOPEN_TEST_LINES=20

folder=$(mktemp -d)
files=$folder/files log=$folder/log
trap 'rm -rf "$folder"' EXIT
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
    if [ "$version" = "$own" ] || python=$(tools/which_python.sh "$version"); then
        ran="$ran $version"
        # If that fails, so will the tests.
        [ "$version" = "$own" ] || PYTHON=$python VENV=.venv-$version tools/setup.sh unit >&2 &
    else
        absent="$absent $version"
    fi
done
wait
for version in $ran; do
    venv=.venv-$version
    [ "$version" != "$own" ] || venv=.venv
    # One cache folder for all versions would only confuse.
    set -- "./$venv/bin/python" -m pytest -p no:cacheprovider -n 4 --tb=short --maxfail=3
    [ "$version" = "$own" ] || run 'unit tests' "$@" --dist loadfile tests/unit
    HALFOPEN_FILES=$files run 'single files' "$@" --dist load tests/unit/test_process.py
done

[ -z "$absent" ] || printf 'Not on this machine:%s\n' "$absent"
[ -n "$ran" ] || { echo 'None of these versions is on this machine.' >&2; exit 1; }
[ -z "$failed" ] || { printf 'Failed on Python:%s\n' "$failed" >&2; exit 1; }
