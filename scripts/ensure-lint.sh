#!/usr/bin/env bash
# Makes sure that .tools/bin holds the golangci-lint that the code is held to.
# Built from source: the release's binary may be older than the Go toolchain,
# and then refuses to read the code.
set -euo pipefail
cd "$(dirname "$0")/.."

want=2.15.0
tool=.tools/bin/golangci-lint

if [ -x "$tool" ] && "$tool" version --short 2>/dev/null | grep -qxF "$want"; then exit 0; fi

echo "building golangci-lint $want (some minutes, once) …" >&2
mkdir -p .tools/bin
GOBIN="$PWD/.tools/bin" GOFLAGS= go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$want"
