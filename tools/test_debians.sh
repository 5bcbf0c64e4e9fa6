#!/bin/bash
# Does what a newcomer to each Debian would, in a bare root: a fresh clone of HEAD, `make run`, `make test`.
#
#   tools/test_debians.sh bullseye trixie
#
# Says how long it took and what it installed; the logs are build/debian-SUITE.log. Needs root.
# STEPS="make lint;.ci/run" runs other commands.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

STEPS=${STEPS:-make run;make test}
# What a Debian has before the clone.
BARE='ca-certificates git make python3'
SOURCE=$PWD
PIP_FILES=(/etc/pip.conf "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$HOME/.pip/pip.conf")
mkdir -p build

# The way to the network goes along: proxies, certificates, and what pip is told. Files are copied;
# folders that a root lacks (packages for pip) are mounted, read-only.
environment=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
    HALFOPEN_NO_SKIPS=1)
files=(/etc/resolv.conf) folders=()
go_along() {
    if [ -d "$1" ]; then folders+=("$1"); elif [[ $1 == /* && -f $1 ]]; then files+=("$1"); fi
}
for name in $(compgen -e); do
    case $name in
        *_proxy | *_PROXY | PIP_* | SSL_CERT_FILE | REQUESTS_CA_BUNDLE | CURL_CA_BUNDLE | HALFOPEN_DEBIAN_MIRROR)
            environment+=("$name=${!name}")
            go_along "${!name}"
            ;;
    esac
done
for file in "${PIP_FILES[@]}"; do
    [ -f "$file" ] || continue
    # As root's in the root: there is no other user.
    [ "$file" = /etc/pip.conf ] || environment+=("PIP_CONFIG_FILE=$file")
    go_along "$file"
    while read -r word; do
        # The packages lie beside an index.
        case $word in file://*) go_along "$(dirname "${word#file://}")" ;; *) go_along "$word" ;; esac
    done < <(grep -oE '(file://)?/[^ =:]+' "$file")
done

# $1: the root; $2: what to run there, in namespaces whose mounts and processes end with it. The root
# is made a mount, because `ip netns exec` wants one at /.
run_in() {
    # shellcheck disable=SC2016 # the inner shell's
    env -i "${environment[@]}" unshare --mount --pid --fork --kill-child bash -ec '
        script=$2
        mount --bind "$1" "$1"
        cd "$1"
        shift 2
        mount -t proc proc proc
        mount --rbind /sys sys
        mount --rbind /dev dev
        mount -t tmpfs -o mode=1777 tmpfs dev/shm
        mount -t tmpfs -o mode=755 tmpfs run
        mount -t tmpfs -o mode=1777 tmpfs tmp
        for folder; do
            [ ! -e ".$folder" ] || continue
            mkdir -p ".$folder"
            mount --bind -o ro "$folder" ".$folder"
        done
        exec chroot . bash -ec "$script"
    ' bash "$1" "$2" "${folders[@]}" </dev/null
}

packages() {
    run_in "$1" "dpkg-query --show --showformat='\${db:Status-Abbrev} \${Package}\n'" | sed -n 's/^ii *//p' | sort
}

# Makes the bare root: $1 the suite, $2 the folder.
make_root() {
    local file
    # bash itself would go on after a failure, where somebody asks how this ends.
    tools/debian_root.sh "$1" "$2" || return 1
    run_in "$2" "apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends $BARE" ||
        return 1
    for file in "${files[@]}"; do
        mkdir -p "$2${file%/*}"
        cp --remove-destination "$file" "$2$file"
    done
    printf '[safe]\n\tdirectory = *\n' >"$2/root/.gitconfig"
    GIT_CONFIG_GLOBAL=$2/root/.gitconfig git clone -q "file://$SOURCE" "$2/root/halfopen"
}

test_suite() {
    local log=build/debian-$1.log before new step began code
    if ! make_root "$1" "$2" >"$log" 2>&1; then
        tail -n 20 "$log"
        return 1
    fi
    while IFS= read -r step; do
        before=$(packages "$2")
        began=$SECONDS code=0
        run_in "$2" "cd /root/halfopen; exec $step" >>"$log" 2>&1 || code=$?
        new=$(comm -13 <(echo "$before") <(packages "$2") | tr '\n' ' ')
        printf '%s: %s: %d s, %d packages installed: %s\n' "$1" "$step" $((SECONDS - began)) "$(wc -w <<<"$new")" "$new"
        [ "$code" = 0 ] || tail -n 100 "$log"
        printf '%s: %s: exit code %d: %s\n' "$1" "$step" "$code" "$(tail -n 1 "$log")"
        [ "$code" = 0 ] || return 1
    done < <(tr ';' '\n' <<<"$STEPS")
}

failed=''
for suite; do
    # tests/hosts removes such a folder when a killed run has left it behind; /tmp may be nodev.
    root=$(mktemp -d "/var/tmp/halfopen-debian-$$-XXXXXX")
    trap 'rm -rf "$root"' EXIT
    test_suite "$suite" "$root" || failed="$failed $suite"
    rm -rf "$root"
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
