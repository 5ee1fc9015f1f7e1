#!/bin/sh
# Puts on a Debian-like machine what the tests on a real control plane need beside Go: etcd, Prometheus for checks of releases, and what
# makes the machine a node: runc, the plugins of containers' networks, the tools that show what a node left behind.
# Their services are not started: the tests start programs of their own, on ports of their own.
# Exit codes: 0 it is there, 3 not root, 4 no apt-get, others from apt-get.
set -eu

have() {
    command -v etcd >/dev/null && command -v prometheus >/dev/null && command -v runc >/dev/null \
        && command -v ip >/dev/null && command -v nft >/dev/null && test -x /usr/lib/cni/bridge
}

have && exit 0
[ "$(id -u)" = 0 ] || { echo "cluster.sh: not root: install etcd-server, prometheus, runc, containernetworking-plugins, iproute2, nftables" >&2; exit 3; }
command -v apt-get >/dev/null || { echo "cluster.sh: no apt-get on this machine" >&2; exit 4; }

# A package's script asks this file before it starts a service (invoke-rc.d(8)); 101 is "not allowed".
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    etcd-server prometheus runc containernetworking-plugins iproute2 nftables
have
