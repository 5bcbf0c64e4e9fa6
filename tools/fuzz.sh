#!/bin/sh
# Fuzzes for FUZZ_SECONDS, half of them for each target, and says what it did; an input that breaks
# an invariant is kept in build/fuzz.
#
#   tools/fuzz.sh 3.13 3.12 ...      where PYTHON has no wheel of atheris, one of these that has
#
# Native code is built nowhere here. No Python with a wheel is a failure, also outside CI.
set -eu
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-600}
export VENV=.venv-fuzz

ready=false tried=''
for python in "${PYTHON:-python3}" $(for version in "$@"; do tools/which_python.sh "$version" || :; done); do
    if PYTHON=$python tools/setup.sh fuzz; then
        ready=true
        break
    fi
    tried="$tried $python"
done
$ready || { echo "fuzz: no wheel of atheris for:$tried" >&2; exit 1; }

for kind in words xml; do
    folder=build/fuzz/$kind
    mkdir -p "$folder/corpus"
    # It ends by itself; the rest is for a machine that is busy.
    if ! timeout $((seconds / 2 + 300)) "$VENV/bin/python" tests/fuzz/fuzz.py "$kind" \
        -max_total_time=$(((seconds + 1) / 2)) -artifact_prefix="$folder/" "-dict=tests/fuzz/$kind.dict" \
        -max_len=8192 -timeout=30 -rss_limit_mb=2048 -print_final_stats=1 "$folder/corpus" \
        </dev/null >"$folder/log" 2>&1; then
        tail -n 60 "$folder/log"
        echo "fuzz: $kind failed; the whole log: $folder/log" >&2
        echo "fuzz: again: $VENV/bin/python tests/fuzz/fuzz.py $kind $folder/crash-..." >&2
        exit 1
    fi
    printf 'fuzz %s: ' "$kind"
    sed -n 's/^#[0-9]*[[:space:]]*DONE *\(.*\)/\1/p; s/^Done //p' "$folder/log" | tr '\n' ' '
    echo
done
