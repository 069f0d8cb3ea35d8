#!/usr/bin/env bash
# Fuzzes every target of the project, each for the time given (default 30s).
# A finding stays as a seed under testdata/fuzz and fails the ordinary tests
# from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

each=${1:-30s}
failed=0
while IFS=: read -r file target; do
  package=./$(dirname "$file")
  echo "fuzz $package $target for $each"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$each" "$package" || failed=1
done < <(git ls-files --cached --others --exclude-standard '*_test.go' | xargs grep -Ho '^func Fuzz[A-Za-z0-9_]*' | sed 's/:func /:/')
exit "$failed"
