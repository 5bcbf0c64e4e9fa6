# /etc/consul.d/half-open.hcl; then `consul reload`.
#
# The checks run as the agent's user, on Debian consul, which needs nmap's rights: `setcap
# cap_net_raw+ep /usr/bin/nmap`, or AmbientCapabilities=CAP_NET_RAW in the agent's unit.
# Exit code 0 is passing, 1 is warning, all others are critical: also 3, the check that failed.
# Consul has no third state but warning, and hands out what is in warning as healthy. So the shell
# makes 2 of all failures: Python exits with 1 when an upgrade has left it without halfopen.
# Time limit: 30 s, then SIGKILL to the check's process group; ours ends after 10 s.

# Script checks from this folder only, not from the HTTP API.
enable_local_script_checks = true

services {
  id      = "web1"
  name    = "web"
  address = "192.0.2.11"
  port    = 443
  check {
    id       = "web1-half-open"
    name     = "TCP half-open"
    args     = ["/bin/sh", "-c", "/usr/lib/nagios/plugins/check_tcp_half_open 192.0.2.11 443 || exit 2"]
    interval = "5s"
  }
}

services {
  id      = "web2"
  name    = "web"
  address = "192.0.2.12"
  port    = 443
  check {
    id       = "web2-half-open"
    name     = "TCP half-open"
    args     = ["/bin/sh", "-c", "/usr/lib/nagios/plugins/check_tcp_half_open 192.0.2.12 443 || exit 2"]
    interval = "5s"
  }
}
