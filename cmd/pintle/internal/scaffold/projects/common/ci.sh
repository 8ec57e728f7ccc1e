#!/bin/sh
# What continuous integration runs, wherever it runs: Go and make are all that is needed.
set -eu
cd "$(dirname "$0")"
test -z "$(gofmt -l .)" || { echo "not formatted:" >&2; gofmt -l . >&2; exit 1; }
make test build
