#!/usr/bin/env bash
# Makes docs/screens/*.png: the console as the people of the demo see it. Starts
# a server of its own with the demo's data, and stops it again.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/ensure-postgres.sh
scripts/ensure-chromium.sh
go run ./internal/testkit/pgrun env STRONGROOM_SCREENS="$PWD/docs/screens" go test -count=1 -timeout 20m -run '^TestTheScreensOfTheDemo$' ./internal/web/console/screens
