#!/bin/sh
# What rest.sh does, by zcli, the load balancer's command line; rest.sh says the rest.
#
#     ./zcli.sh FARM [SERVICE]
set -eu
name=check_tcp_half_open
zcli farmguardian create -name "$name" || : # for the second farm, it is there already
zcli farmguardian set "$name" -description 'Half-open TCP check, unseen by the backends' \
    -command 'check_tcp_half_open HOST PORT' -interval 10 -force true -cut_conns false -log true
# zcli's name for the one service of an L4xNAT farm is default_service.
zcli farm-service-farmguardian add "$1" "${2:-default_service}" -name "$name"
