#!/bin/sh
# A certificate authority for Icinga, and a certificate for each node. As root, on the master:
#
#     ./certificates.sh master.example.org agent.example.org
#
# For one more agent later, run it again with its name alone.
set -eu
lib=/var/lib/icinga2

[ -e "$lib/ca/ca.key" ] || icinga2 pki new-ca
install -d -o nagios -g nagios -m 0700 "$lib/certs"
install -o nagios -g nagios -m 0644 "$lib/ca/ca.crt" "$lib/certs"
for name do
    icinga2 pki new-cert --cn "$name" --key "$lib/certs/$name.key" --csr "$lib/certs/$name.csr"
    icinga2 pki sign-csr --csr "$lib/certs/$name.csr" --cert "$lib/certs/$name.crt"
done
