#!/bin/sh
# Makes the Farmguardian "check_tcp_half_open" on a load balancer, and puts it in charge of a farm,
# by the load balancer's REST API. Run it once for each farm, on any machine that has curl:
#
#     ZAPI_KEY=... ./rest.sh https://192.0.2.1:444 FARM [SERVICE]
#
# SERVICE is for HTTP farms; an L4xNAT farm has none. The key is the user zapi's, made in System >
# Users. The certificate is self-signed: name a copy of it in CURL_CA_BUNDLE. ZEVENET from 5.11 on,
# SKUDONET 7 and RELIANOID 7 know this path and header; RELIANOID would rather have API_KEY.
# The same without the API: Monitoring > Farmguardian, with the fields below.
#
# The plugin belongs into /usr/lib/nagios/plugins/ of the load balancer (of each, in a cluster), and
# runs there as root: nmap needs no further rights. Exit code 0 is up, all others are down.
# Time limit: a check that takes longer than the interval is down, but is never ended; ours ends
# after 10 s. The backends are checked one after the other, 0.1 s each, 1.5 s where nobody answers.
set -eu
lb=$1 farm=$2 service=${3:-}
name=check_tcp_half_open

call() { # METHOD PATH JSON
    # The key goes through a pipe: a command line can be read by every user of the machine.
    answer=$(printf 'header = "ZAPI_KEY: %s"\n' "$ZAPI_KEY" |
        curl --config - --silent --show-error --max-time 60 --write-out '\n%{http_code}' \
            --request "$1" --header 'Content-Type: application/json' --data "$3" \
            "$lb/zapi/v4.0/zapi.cgi$2")
    case ${answer##*
} in
        2*) ;;
        *) printf '%s %s: %s\n' "$1" "$2" "$answer" >&2; exit 1 ;;
    esac
}

# For the second farm it is there already, which is an error. Others will be the next call's, too.
(call POST /monitoring/fg '{"name": "'"$name"'"}') 2>/dev/null || :
# "force": or else its command can't be set while it is at work on another farm.
# HOST and PORT stay as they are: Farmguardian puts the backend's in. A farm with several ports has
# none to put in: write the one to check in place of PORT. For link-local backends (fe80::1%eth0)
# add `--as farmguardian`, for the log takes a % to be a format.
call PUT "/monitoring/fg/$name" '{
    "description": "Half-open TCP check, unseen by the backends",
    "command": "check_tcp_half_open HOST PORT",
    "interval": 10,
    "force": "true",
    "cut_conns": "false",
    "log": "true"
}'
call POST "/farms/$farm${service:+/services/$service}/fg" '{"name": "'"$name"'"}'
