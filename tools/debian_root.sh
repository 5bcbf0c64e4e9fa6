#!/bin/sh
# Unpacks a bare Debian, what debootstrap makes of SUITE (minbase), with this system's way to the network.
#
#   tools/debian_root.sh bookworm FOLDER
#
# It is made once, kept in the user's cache for 30 days, and comes from the mirror of tools/mirror.sh.
# Needs root and debootstrap.
set -eu
cd "$(dirname "$0")/.."

suite=$1 root=$2
mirror=$(tools/mirror.sh)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/halfopen
tar=$cache/debian-$suite-$(printf '%s' "$mirror" | cksum | cut -d ' ' -f 1).tar
mkdir -p "$cache"
exec 9>"$tar.lock"
flock 9
find "$tar" -mtime +30 -delete 2>/dev/null || :
if [ ! -e "$tar" ]; then
    # /tmp may be mounted nodev.
    folder=$(mktemp -d "/var/tmp/halfopen-debootstrap-$$-XXXXXX")
    trap 'rm -rf "$folder"' EXIT
    # A debootstrap knows the suites of its time; newer ones are made as sid is.
    script=''
    [ -e "/usr/share/debootstrap/scripts/$suite" ] || script=sid
    # Alone with its processes: what one of them leaves running ends with it.
    unshare --mount --pid --fork --kill-child --mount-proc timeout 1200 \
        debootstrap --variant=minbase "$suite" "$folder" "$mirror" $script </dev/null >"$tar.log" 2>&1 ||
        { tail -n 20 "$tar.log" >&2; exit 1; }
    rm -rf "$folder"/var/cache/apt/archives/*.deb
    chmod 755 "$folder"
    tar -C "$folder" -cf "$tar.new" .
    mv "$tar.new" "$tar"
fi
tar --numeric-owner -C "$root" -xpf "$tar"
chmod 755 "$root" # apt downloads as a user of its own
apt-config dump | grep -E '^Acquire::' | grep -v '^Acquire::IndexTargets' >"$root/etc/apt/apt.conf" || :
# A mirror's testing may be out of date.
echo 'Acquire::Check-Valid-Until "false";' >>"$root/etc/apt/apt.conf"
cp --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"
cp /etc/hosts "$root/etc/hosts"
mkdir -p "$root/usr/local/share/ca-certificates"
cp /usr/local/share/ca-certificates/* "$root/usr/local/share/ca-certificates/" 2>/dev/null || :
