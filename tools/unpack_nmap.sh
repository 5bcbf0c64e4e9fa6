#!/bin/sh
# Unpacks the nmap of a Debian suite, with its libraries, so that it runs here; it installs nothing.
#
#   tools/unpack_nmap.sh trixie FOLDER      makes FOLDER, and in it usr/bin/nmap
#
# It comes from the mirror of tools/mirror.sh. The packages are kept in the user's cache. What it needs
# is told by `tools/setup.sh nmaps`.
set -eu

fail() { printf 'unpack_nmap: %s\n' "$*" >&2; exit 1; }

[ $# = 2 ] || fail "usage: $0 SUITE FOLDER"
suite=$1
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

mirror=$("$(dirname "$0")/mirror.sh")

mkdir "$2" || fail "$2 must be a new folder"
folder=$(cd "$2" && pwd)

cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/halfopen/nmap-$suite
mkdir -p "$cache/lists/partial" "$cache/archives/partial"
exec 9>"$cache/lock"
flock 9
echo "deb [signed-by=$keyring] $mirror $suite main" >"$cache/sources.list"

# An apt of its own, which knows this suite alone and takes no package for installed.
# Check-Valid-Until: a mirror's testing and sid may be out of date; the signature still counts.
# Sandbox: root's apt would download as another user, who may not enter this cache.
# NoLocking: nothing is installed, and others may be installing.
log=$folder/apt.log
bare_apt() {
    timeout 600 apt-get -y \
        -o Dir::Etc::SourceList="$cache/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$cache/lists" -o Dir::State::Status=/dev/null \
        -o Dir::Cache="$cache" \
        -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none \
        -o APT::Sandbox::User=root -o Debug::NoLocking=true \
        "$@" </dev/null >>"$log" 2>&1 || { cat "$log" >&2; fail "apt-get $1 failed for $suite"; }
}
bare_apt update --error-on=any
bare_apt autoclean
bare_apt install --download-only --no-install-recommends nmap
for package in "$cache"/archives/*.deb; do
    dpkg-deb -x "$package" "$folder"
done
flock -u 9

# It finds its data folder from where it lies itself, and so its libraries: by absolute paths, and by
# RPATH, which goes for the libraries' libraries too. A program with capabilities obeys no variable.
nmap=$folder/usr/bin/nmap
loader=$(basename "$(patchelf --print-interpreter "$nmap")")
loader=$(find "$folder" -name "$loader" | head -n 1)
libraries=$(find "$folder" -name '*.so*' -printf '%h\n' | sort -u | paste -sd :)
patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$nmap"
"$nmap" --version >"$log" 2>&1 || { cat "$log" >&2; fail "the nmap of $suite does not run here"; }
