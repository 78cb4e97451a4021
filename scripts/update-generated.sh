#!/usr/bin/env bash
# update-generated.sh: render manifests/, the golden files of pkg/deploy and the README's tables of kinds and metrics from code.
. "$(dirname "$0")/lib.sh"
go test ./pkg/deploy -run 'TestManifestsAreRendered|TestRBAC|TestSurroundings' -update
go test ./syncer/resources -run TestTheTableOfKinds -update
go test ./pkg/metrics/families -run TestTheTableOfMetrics -update
