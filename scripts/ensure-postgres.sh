#!/usr/bin/env bash
# Makes sure that PostgreSQL 15 or newer is on this machine. Installs it with
# apt when it is missing; says one sentence when it cannot. Strongroom runs a
# private cluster of its own, so no cluster is made or started here.
set -euo pipefail

oldest=15

newest() {
  local dir version best=0 onpath
  onpath=$(command -v postgres || true)
  for dir in ${onpath:+"$(dirname "$(readlink -f "$onpath")")"} /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* /usr/lib/postgresql*/bin /usr/local/pgsql/bin; do
    [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] || continue
    version=$("$dir/postgres" --version | sed -n 's/.*(PostgreSQL) \([0-9]*\).*/\1/p')
    if [ "${version:-0}" -gt "$best" ]; then best=$version; fi
  done
  echo "$best"
}

found=$(newest)
if [ "$found" -ge "$oldest" ]; then exit 0; fi

refuse() {
  echo "PostgreSQL $oldest or newer is needed and $1: install it (on Debian 12 or newer: apt-get install postgresql) and run this again." >&2
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

echo "installing PostgreSQL with apt-get …" >&2
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null >&2
}
apt update || refuse "apt-get update failed"
# The package would otherwise make and start a cluster on port 5432.
dropin=/etc/postgresql-common/createcluster.d/strongroom-install.conf
"${as_root[@]}" mkdir -p "$(dirname "$dropin")"
echo "create_main_cluster = false" | "${as_root[@]}" tee "$dropin" >/dev/null
trap '"${as_root[@]}" rm -f "$dropin"' EXIT
apt install -y --no-install-recommends postgresql || refuse "apt-get install postgresql failed"

found=$(newest)
if [ "$found" -lt "$oldest" ]; then refuse "this system's own is version $found"; fi
