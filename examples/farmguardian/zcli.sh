#!/bin/sh
# What rest.sh does, by zcli, the load balancer's command line; rest.sh says why.
#
#     ./zcli.sh FARM [SERVICE]
#
# Another name of the command goes into ZCLI.
set -eu
case ${1:--} in -*) set -- ;; esac
[ $# = 1 ] || [ $# = 2 ] || { echo "usage: $0 FARM [SERVICE]" >&2; exit 3; }
zcli=${ZCLI:-zcli}
name=check_tcp_half_open
"$zcli" farmguardian create -name "$name" || : # for the second farm, it is there already
made=$("$zcli" -nc farmguardian get "$name")
case $(printf %s "$made" | tr -d '[:space:]') in
    *'"command":""'*)
        "$zcli" farmguardian set "$name" -description 'Half-open TCP check, unseen by the backends' \
            -command 'check_tcp_half_open HOST PORT' -interval 10 -cut_conns false -log true ;;
esac
# zcli's name for the one service of an L4xNAT farm is default_service.
"$zcli" farm-service-farmguardian add "$1" "${2:-default_service}" -name "$name"
