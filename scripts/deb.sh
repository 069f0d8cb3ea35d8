#!/bin/bash
# Builds dist/strongroom_VERSION_ARCH.deb from bin/strongroom:
#   scripts/deb.sh BINARY VERSION [FOLDER]
# The same sources and version give the same package, byte for byte.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$1
# Debian's versions begin with a digit; what git says about a tree without a
# tag is sorted before every release.
version=${2#v}
version=${version//-/+}
[[ $version =~ ^[0-9] ]] || version="0~$version"
dist=${3:-dist}
arch=$(dpkg --print-architecture)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
doc=$root/usr/share/doc/strongroom
install -d "$root"/{usr/bin,lib/systemd/system,etc/strongroom,DEBIAN} "$doc"
install -m 0755 "$binary" "$root/usr/bin/strongroom"
install -m 0644 deploy/strongroom.service "$root/lib/systemd/system/strongroom.service"
install -m 0640 deploy/strongroom.toml "$root/etc/strongroom/strongroom.toml"
install -m 0644 docs/operations.md "$doc/operations.md"
{
  printf 'Strongroom\n\n'
  cat LICENSE
} > "$doc/copyright"
go run ./deploy/notices > "$doc/THIRD-PARTY-NOTICES.txt"
printf 'strongroom (%s) stable; urgency=medium\n\n  * See docs/design and the history of the source.\n\n -- Strongroom <strongroom@localhost>  %s\n' \
  "$version" "$(LC_ALL=C date -u -R -d "@$epoch")" | gzip -9n > "$doc/changelog.gz"
install -m 0644 deploy/debian/conffiles "$root/DEBIAN/conffiles"
install -m 0755 deploy/debian/{postinst,prerm,postrm} "$root/DEBIAN/"
size=$(du -sk --exclude=DEBIAN "$root" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" deploy/debian/control > "$root/DEBIAN/control"
(cd "$root" && find usr lib -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"
chmod 0644 "$root/DEBIAN/"{control,md5sums} "$doc"/*
mkdir -p "$dist"
SOURCE_DATE_EPOCH=$epoch dpkg-deb --root-owner-group "-Z${DEB_COMPRESS:-xz}" --build "$root" "$dist/strongroom_${version}_${arch}.deb" >/dev/null
echo "$dist/strongroom_${version}_${arch}.deb"
