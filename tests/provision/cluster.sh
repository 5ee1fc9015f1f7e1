#!/bin/sh
# Puts on a Debian-like machine what the tests on a real control plane need beside Go: etcd, and Prometheus for Flagger's checks.
# Their services are not started: the tests start programs of their own, on ports of their own.
# Exit codes: 0 it is there, 3 not root, 4 no apt-get, others from apt-get.
set -eu

have() {
    command -v etcd >/dev/null && command -v prometheus >/dev/null
}

have && exit 0
[ "$(id -u)" = 0 ] || { echo "cluster.sh: not root: install etcd-server and prometheus" >&2; exit 3; }
command -v apt-get >/dev/null || { echo "cluster.sh: no apt-get on this machine" >&2; exit 4; }

# A package's script asks this file before it starts a service (invoke-rc.d(8)); 101 is "not allowed".
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends etcd-server prometheus
have
