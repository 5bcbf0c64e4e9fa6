#!/bin/sh
# Makes the Farmguardian "check_tcp_half_open" on a load balancer, and puts it in charge of a farm,
# by the load balancer's REST API. Run it once for each farm, on any machine that has curl:
#
#     ZAPI_KEY=... ./rest.sh https://192.0.2.1:444 FARM [SERVICE]    ZEVENET 5, SKUDONET 7
#     API_KEY=... ./rest.sh https://192.0.2.1:444 FARM [SERVICE]     RELIANOID 7
#
# SERVICE is for HTTP farms; an L4xNAT farm has none. The key is that of the user zapi (RELIANOID:
# api), made in System > Users. RELIANOID before 7.4 has only the names of the others.
#
# The certificate is self-signed. Name a copy of it in CURL_CA_BUNDLE; if it is for another host name,
# trust its key alone, by two lines in ~/.curlrc, which hold for every curl of this user:
#
#     insecure
#     pinnedpubkey = "sha256//..."
#
# where ... is what this prints on the load balancer itself:
#
#     openssl s_client -connect localhost:444 </dev/null | openssl x509 -pubkey -noout |
#         openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64
#
# docs/load-balancers/farmguardian.md says the rest.
set -eu
case ${1:--} in -*) set -- ;; esac
[ $# = 2 ] || [ $# = 3 ] || {
    echo "usage: ZAPI_KEY=... $0 https://LB:444 FARM [SERVICE] (RELIANOID: API_KEY=...)" >&2
    exit 3
}
lb=$1 farm=$2 service=${3:-}
name=check_tcp_half_open
if [ -n "${API_KEY:-}" ]; then
    api=/api/v4.0/api.cgi key="API_KEY: $API_KEY"
else
    api=/zapi/v4.0/zapi.cgi key="ZAPI_KEY: ${ZAPI_KEY:?or API_KEY: neither is set}"
fi

call() { # METHOD PATH [JSON]
    # The key goes through a pipe: a command line can be read by every user of the machine.
    answer=$(printf 'header = "%s"\n' "$key" |
        curl --config - --silent --show-error --max-time 60 --write-out '\n%{http_code}' \
            --request "$1" --header 'Content-Type: application/json' ${3:+--data "$3"} \
            "$lb$api$2")
    case ${answer##*
} in
        2*) ;;
        *) printf '%s %s: %s\n' "$1" "$2" "$answer" >&2; exit 1 ;;
    esac
}

# For the second farm it is there already, which is an error. Others will be the next call's, too.
(call POST /monitoring/fg '{"name": "'"$name"'"}') 2>/dev/null || :
call GET "/monitoring/fg/$name"
# Only a new one is told what to do: it has no command yet. One that is at work would be started
# anew on all its farms, with every backend up for a while, and what was changed by hand be lost.
# HOST and PORT stay as they are: Farmguardian puts the backend's in.
case $(printf %s "$answer" | tr -d '[:space:]') in
    *'"command":""'*) call PUT "/monitoring/fg/$name" '{
        "description": "Half-open TCP check, unseen by the backends",
        "command": "check_tcp_half_open HOST PORT",
        "interval": 10,
        "cut_conns": "false",
        "log": "true"
    }' ;;
esac
call POST "/farms/$farm${service:+/services/$service}/fg" '{"name": "'"$name"'"}'
