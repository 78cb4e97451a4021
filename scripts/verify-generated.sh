#!/usr/bin/env bash
# verify-generated.sh: what is rendered from code is up to date. Its twin is update-generated.sh.
. "$(dirname "$0")/lib.sh"
go test ./pkg/deploy >/dev/null || fail "manifests/ is not what pkg/deploy renders: run make update-generated"
go test ./pkg/deploy/chart >/dev/null || fail "the Helm chart is not what pkg/deploy/chart generates: run make update-generated"
go test ./syncer/resources -run TestTheTableOfKinds >/dev/null || fail "README.md does not have the registry's table of kinds: run make update-generated"
go test ./pkg/metrics/families -run TestTheTableOfMetrics >/dev/null || fail "README.md does not have the list of metrics: run make update-generated"
