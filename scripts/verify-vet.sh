#!/usr/bin/env bash
# verify-vet.sh: go vet finds nothing. It has no twin: what it finds, a person mends.
. "$(dirname "$0")/lib.sh"
go vet ./...
