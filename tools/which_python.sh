#!/bin/sh
# Prints where Python VERSION is on this machine; fails if it is nowhere.
#
#   tools/which_python.sh 3.7
set -eu

# pyenv's own folders come first: its shims on PATH also exist for versions that are not switched on.
for candidate in "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$1".*/bin/python"$1" "python$1"; do
    if path=$(command -v "$candidate") && "$path" -c '' 2>/dev/null; then
        printf '%s\n' "$path"
        exit
    fi
done
exit 1
