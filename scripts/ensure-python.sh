#!/usr/bin/env bash
# Makes sure that the system's own Python 3.11 or newer is on this machine: the
# tests run the Python client with it. Installs it with apt when it is missing;
# says one sentence when it cannot.
set -euo pipefail

ok() { [ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import sys, ssl; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
if ok && command -v curl >/dev/null; then exit 0; fi

refuse() {
  echo "Python 3.11 or newer (/usr/bin/python3) and curl are needed to test and $1: install them (on Debian 12 or newer: apt-get install python3 curl) and run this again." >&2
  exit 1
}

command -v apt-get >/dev/null || refuse "this machine has no apt-get"

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  # -n: never wait for a password that nobody is there to type.
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=(sudo)
  else
    refuse "only root can install them"
  fi
fi

echo "installing Python and curl with apt-get …" >&2
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null >&2
}
apt update || refuse "apt-get update failed"
apt install -y --no-install-recommends python3 curl ca-certificates || refuse "apt-get install python3 curl failed"
if ! ok; then refuse "this system's own is $(/usr/bin/python3 --version 2>&1 || echo missing)"; fi
