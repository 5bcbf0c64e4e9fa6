#!/bin/sh
# Makes a virtual environment for one job of the Makefile's, and sees to what it needs of the system.
#
#   tools/setup.sh [--install] run|test|all|unit|dist|docs|deb|debians|nmaps|proof|fuzz|mutation|lint
#
# With --install, missing Debian packages are installed; without it, the line that installs them is
# printed, and nothing more is done. PYTHON picks the interpreter, VENV the folder. What is there
# already is left alone: a second call asks neither apt nor pip.
set -eu

PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
# An ordinary user's PATH lacks the folders that nft and others live in.
PATH=$PATH:/usr/sbin:/sbin
# Some of pip's ways of installing would obey it, too.
unset PYTHONDONTWRITEBYTECODE

cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

install=false
[ "${1:-}" != --install ] || { install=true; shift; }

# What each job needs: the system's commands and files, each with its package, and the project's
# extras. /etc/services holds the names of ports that the tests expect to read.
network='nmap:nmap ip:iproute2 nft:nftables setcap:libcap2-bin
         setpriv:util-linux prlimit:util-linux unshare:util-linux /etc/services:netbase'
package='dpkg-buildpackage:dpkg-dev /usr/share/build-essential:build-essential
         dh:debhelper dh_python3:dh-python /usr/bin/python3:python3'
hosts='haproxy:haproxy keepalived:keepalived ldirectord:ldirectord monit:monit
       nagios4:nagios4-core nrpe:nagios-nrpe-server icinga2:icinga2-bin
       /usr/lib/nagios/plugins/check_nrpe:nagios-nrpe-plugin /etc/icinga2:icinga2-common
       zabbix_agentd:zabbix-agent promtool:prometheus
       prometheus-node-exporter:prometheus-node-exporter
       /usr/lib/nagios/plugins/check_ping:monitoring-plugins-basic
       faketime:faketime visudo:sudo curl:curl strace:strace /lib/systemd/systemd:systemd
       postfix:postfix squid:squid lintian:lintian man:man-db zsh:zsh fish:fish
       cc:gcc /usr/include/dlfcn.h:libc6-dev /usr/include/linux/ip_vs.h:linux-libc-dev'
keyring='/usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring'
roots="debootstrap:debootstrap unshare:util-linux $keyring"
nmaps="patchelf:patchelf $keyring"
system='' extras=''
case ${1:-} in
    run) system='nmap:nmap' ;;
    test) system=$network extras='[test]' ;;
    all) system="$network $package $hosts $roots $nmaps" extras='[test]' ;;
    unit) extras='[test]' ;;
    dist) extras='[dist]' ;;
    docs) extras='[docs]' ;;
    deb) system=$package ;;
    debians) system=$roots ;;
    nmaps) system="$network $nmaps" extras='[test]' ;;
    proof)
        system="$network postfix:postfix squid:squid
                /usr/lib/nagios/plugins/check_tcp:monitoring-plugins-basic"
        extras='[test]'
        ;;
    # atheris is native code: its wheel, or none.
    fuzz) extras='[fuzz]' PIP_ONLY_BINARY=atheris && export PIP_ONLY_BINARY ;;
    mutation) extras='[mutation,test]' ;;
    # mypy reads the tests as well, so it needs what they import.
    lint) system='shellcheck:shellcheck' extras='[lint,test]' ;;
    *) fail "usage: $0 [--install] run|test|all|unit|dist|docs|deb|debians|nmaps|proof|fuzz|mutation|lint" ;;
esac

# Sets $lacking to what is not there and $packages to where it comes from.
look() {
    lacking='' packages=''
    for pair in $system; do
        { command -v "${pair%%:*}" || [ -e "${pair%%:*}" ]; } >/dev/null && continue
        lacking="$lacking ${pair%%:*}"
        case "$packages " in *" ${pair##*:} "*) ;; *) packages="$packages ${pair##*:}" ;; esac
    done
    # Debian's Python comes without the part of the library that makes virtual environments.
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        lacking="$lacking venv" packages="$packages python3-venv"
}

install_packages() {
    say "installing$packages"
    log=$(mktemp)
    trap 'rm -f "$log"; let_daemons_be' EXIT
    keep_daemons_off
    # --no-remove: Postfix would take the place of another mail server.
    for step in update "install --no-remove --no-install-recommends$packages"; do
        # shellcheck disable=SC2086 # words to split: an empty $as_root, several packages
        $as_root env DEBIAN_FRONTEND=noninteractive timeout 600 \
            apt-get -y -o DPkg::Lock::Timeout=120 $step </dev/null >"$log" 2>&1 && continue
        cat "$log" >&2
        fail "apt-get ${step%% *} failed; needed:$packages"
    done
    let_daemons_be
}

# The tests start the daemons themselves, on machines of their own; installing the packages must not
# start any here: invoke-rc.d and deb-systemd-invoke ask policy-rc.d, and 101 forbids it. Nor at the
# next boot: what apt enables is disabled again.
POLICY=/usr/sbin/policy-rc.d
policy_is_ours=false
keep_daemons_off() {
    enabled=$(enabled_units)
    [ ! -e "$POLICY" ] || return 0
    policy_is_ours=true
    # shellcheck disable=SC2016,SC2086 # the inner shell's words; an empty $as_root
    $as_root sh -c 'printf "#!/bin/sh\nexit 101\n" >"$1" && chmod 755 "$1"' sh "$POLICY"
}
let_daemons_be() {
    # shellcheck disable=SC2086 # an empty $as_root
    ! $policy_is_ours || $as_root rm -f "$POLICY"
    policy_is_ours=false
    for unit in $(enabled_units); do
        case " $enabled" in *" $unit "*) continue ;; esac
        # shellcheck disable=SC2086 # an empty $as_root
        $as_root systemctl disable -q "$unit" || true
    done
}
enabled_units() {
    [ ! -d /run/systemd/system ] ||
        systemctl list-unit-files --state=enabled --no-legend | cut -d ' ' -f 1 | tr '\n' ' '
}

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 7))' 2>/dev/null ||
    fail "$PYTHON is no Python 3.7 or newer; set PYTHON"

look
as_root='' able=true
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    # Without a terminal sudo can ask for no password.
    { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; }; } || able=false
fi
command -v apt-get >/dev/null || able=false
if [ -n "$packages" ] && $install && $able; then
    install_packages
    look
    [ -z "$packages" ] || fail "still lacking:$lacking"
elif [ -n "$packages" ]; then
    say "lacking:$lacking; to install it: ${as_root:+$as_root }apt-get install --no-install-recommends$packages"
    # The tests skip what they can't run, and say why; without venv there are none.
    [ "$1" = test ] && [ "${lacking% venv}" = "$lacking" ] || exit 1
fi

[ "$1" != debians ] || exit 0

# A stamp holds what its part was made from: an environment, the folder (the scripts in it name it)
# and the interpreter; what is installed there, the project's requirements too.
place=$(pwd && "$PYTHON" -c 'import sys; print(sys.version, sys.base_prefix)')
made_from=$(printf '%s\n' "$place" && cksum pyproject.toml)
fresh() { [ "$(cat "$VENV/.stamp$1" 2>/dev/null)" = "$2" ]; }
stamp() { printf '%s\n' "$2" >"$VENV/.stamp$1"; }
pip_install() {
    timeout 900 "$VENV/bin/python" -m pip install -qq --disable-pip-version-check "$@" </dev/null ||
        fail "pip install $* failed"
}

if ! fresh '' "$place"; then
    # PATH may find the environment's own, which goes now.
    base=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.executable))')
    say "making $VENV with $("$base" -V), and installing into it: about a minute"
    rm -rf "$VENV"
    "$base" -m venv "$VENV"
    # The newest pip: older ones (23.2, say) write command scripts that load a module before nmap
    # can start.
    pip_install --upgrade pip
    stamp '' "$place"
fi
if ! fresh "-package$extras" "$made_from"; then
    # This editable mode puts a path into site-packages; the usual one puts an import hook there,
    # and every start of a check would pay for it.
    pip_install --config-settings editable_mode=compat --editable ".$extras"
    stamp "-package$extras" "$made_from"
fi
# As an installation has it; otherwise a check compiles its sources at each start, or leaves root's
# files among them.
"$VENV/bin/python" -m compileall -q halfopen
