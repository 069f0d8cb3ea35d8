#!/usr/bin/env bash
# Makes sure that Chromium is on this machine, for the tests that look at pages
# and for scripts/screens.sh. Installs Debian's with apt when it is missing; says
# one sentence when it cannot. Strongroom itself never needs it.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then exit 0; fi
done

refuse() {
  echo "Chromium is needed by the tests and $1: install it (on Debian: apt-get install chromium) and run this again." >&2
  exit 1
}

command -v apt-get >/dev/null || refuse "this machine has no apt-get"

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  # -n: never wait for a password that nobody is there to type.
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=(sudo)
  else
    refuse "only root can install it"
  fi
fi

echo "installing Chromium with apt-get …" >&2
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null >&2
}
apt update || refuse "apt-get update failed"
# Without the recommended packages there may be no font at all.
apt install -y --no-install-recommends chromium fonts-dejavu-core || refuse "apt-get install chromium failed"
command -v chromium >/dev/null || refuse "the package chromium brought no chromium"
