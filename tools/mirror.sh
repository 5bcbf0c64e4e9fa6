#!/bin/sh
# Prints the mirror of Debian: HALFOPEN_DEBIAN_MIRROR, or the one that this system's apt has for its
# own release.
set -eu

mirror=${HALFOPEN_DEBIAN_MIRROR:-}
if [ -z "$mirror" ]; then
    # shellcheck disable=SC1091 # each system's own
    own=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    # apt reads its sources for us, in whichever format they are.
    # shellcheck disable=SC2016 # apt's own variables
    mirror=$(apt-get indextargets --format '$(CODENAME) $(ORIGIN) $(SITE)' \
        'Created-By: Packages' 'Component: main' 2>/dev/null | sed -n "s/^$own Debian //p" | head -n 1)
fi
[ -n "$mirror" ] || {
    echo 'apt names no mirror of Debian: have root run apt-get update, or set HALFOPEN_DEBIAN_MIRROR' >&2
    exit 1
}
printf '%s\n' "$mirror"
