#!/bin/sh
# Runs the unit tests on each of the named Python versions that this machine has.
#
#   tools/test_pythons.sh 3.7 3.8 ...
set -eu
cd "$(dirname "$0")/.."

# pyenv's own folders come first: its shims on PATH also exist for versions that are not switched on.
find_python() {
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python"$1" "python$1"; do
        if "$candidate" -c '' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
ran='' absent='' failed=''
for version in "$@"; do
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        absent="$absent $version"
        continue
    fi
    ran="$ran $version"
    PYTHON=$python VENV=.venv-$version tools/setup.sh unit
    # One cache folder for all versions would only confuse.
    if timeout 300 "./.venv-$version/bin/python" -m pytest -p no:cacheprovider --tb=short \
        --maxfail=3 tests/unit </dev/null >"$log" 2>&1; then
        printf 'Python %s: %s\n' "$version" "$(tail -n 1 "$log" | tr -d =)"
    else
        cat "$log"
        failed="$failed $version"
    fi
done

[ -z "$absent" ] || printf 'Not on this machine:%s\n' "$absent"
[ -n "$ran" ] || { echo 'None of these versions is on this machine.' >&2; exit 1; }
[ -z "$failed" ] || { printf 'Failed on Python:%s\n' "$failed" >&2; exit 1; }
