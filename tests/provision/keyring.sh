#!/bin/sh
# Puts a real Secret Service on a Debian-like machine, for tests/connectors/test_keyring_real.py.
# Exit codes: 0 it is there, 3 not root, 4 no apt-get, others from apt-get.
set -eu

have() {
    command -v gnome-keyring-daemon >/dev/null && command -v dbus-run-session >/dev/null && command -v secret-tool >/dev/null
}

have && exit 0
[ "$(id -u)" = 0 ] || { echo "keyring.sh: not root: install gnome-keyring, dbus and libsecret-tools" >&2; exit 3; }
command -v apt-get >/dev/null || { echo "keyring.sh: no apt-get on this machine" >&2; exit 4; }
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gnome-keyring dbus libsecret-tools
have
