# make run    install what is missing, build, start a demo installation
# make build  bin/strongroom
# make test   every test but the long sweeps, on a private PostgreSQL
# make deb    dist/strongroom_VERSION_ARCH.deb, for Debian 12
# make check  format, vet, lint, architecture: what CI runs before the tests

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

GO ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)

# Services run as users of their own when root starts them, and /root is closed
# to those; so the demo lives where a package would put it.
DATA ?= $(if $(filter 0,$(shell id -u)),/var/lib/strongroom-demo,$(HOME)/.local/share/strongroom-demo)
LISTEN ?= 127.0.0.1:8443

TEST := $(GO) run ./internal/testkit/pgrun $(GO) test -json -timeout 30m
TALLY := $(GO) run ./internal/testkit/tally

.PHONY: run build deb test test-long check bench clean postgres python chromium screens lint-tool

run: postgres build
	bin/strongroom up --data "$(DATA)" --listen "$(LISTEN)" --demo

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/strongroom ./cmd/strongroom

deb: build
	scripts/deb.sh bin/strongroom "$(VERSION)"

test: postgres python chromium
	$(TEST) ./... | $(TALLY)

test-long: postgres python chromium
	STRONGROOM_LONG=1 $(GO) run ./internal/testkit/pgrun $(GO) test -json -timeout 6h ./... | $(TALLY)
	scripts/fuzz.sh 30s

check: lint-tool
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	.tools/bin/golangci-lint run ./...
	$(GO) test ./internal
	@echo "check: all good"

bench: postgres build
	$(GO) run ./internal/bench -out bench.json

clean:
	rm -rf bin dist bench.json

python:
	@scripts/ensure-python.sh

postgres:
	@scripts/ensure-postgres.sh

chromium:
	@scripts/ensure-chromium.sh

# The pictures in docs/screens, of a demo installation made for them.
screens:
	scripts/screens.sh

lint-tool:
	@scripts/ensure-lint.sh
