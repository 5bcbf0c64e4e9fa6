#!/bin/sh
# Runs the tests with the real nmap on the nmap of each of these Debian suites, unpacked and not
# installed; not those that are the same with every nmap: faults, wait and watch, the README.
#
#   tools/test_nmaps.sh bullseye sid ...
#
# Needs root, for the network namespaces.
set -eu
cd "$(dirname "$0")/.."

# Not below /tmp, which may be mounted nosuid; and a machine of the tests' has a /tmp of its own.
folder=$(mktemp -d /var/tmp/halfopen-nmaps-XXXXXX)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
# Not only root runs what is in it.
chmod 755 "$folder"
log=$folder/log

failed=''
for suite in "$@"; do
    tools/unpack_nmap.sh "$suite" "$folder/$suite" || { failed="$failed $suite"; continue; }
    nmap=$folder/$suite/usr/bin/nmap
    version=$("$nmap" --version | sed -n 's/^Nmap version \([^ ]*\).*/\1/p')
    # A test that took nmap from PATH would meet this one.
    mkdir "$folder/$suite/trap"
    printf '#!/bin/sh\necho "not the nmap to test" >&2\nexit 1\n' >"$folder/$suite/trap/nmap"
    chmod 755 "$folder/$suite/trap/nmap"
    if HALFOPEN_NMAP=$nmap PATH=$folder/$suite/trap:$PATH timeout 900 .venv/bin/python -m pytest \
        -p no:cacheprovider -n 4 --dist loadfile --tb=short \
        --ignore=tests/real/test_faults.py --ignore=tests/real/test_runbook.py \
        --ignore=tests/real/test_pages.py tests/real </dev/null >"$log" 2>&1 &&
        tail -n 1 "$log" | grep -q ' passed'; then
        printf '%s, nmap %s: %s\n' "$suite" "$version" "$(tail -n 1 "$log" | tr -d =)"
    else
        cat "$log"
        failed="$failed $suite ($version)"
    fi
    rm -rf "${folder:?}/$suite"
done

[ $# -gt 0 ] || { echo 'No suite was named.' >&2; exit 1; }
[ -z "$failed" ] || { printf 'Failed with the nmap of:%s\n' "$failed" >&2; exit 1; }
