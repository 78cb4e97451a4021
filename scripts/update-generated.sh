#!/usr/bin/env bash
# update-generated.sh: render manifests/, what is generated of the Helm chart, the golden files of pkg/deploy and the README's tables of kinds and metrics from code.
. "$(dirname "$0")/lib.sh"
go test ./pkg/deploy -run 'TestManifestsAreRendered|TestRBAC|TestSurroundings' -update
go test ./pkg/deploy/chart -update
go test ./syncer/resources -run TestTheTableOfKinds -update
go test ./pkg/metrics/families -run TestTheTableOfMetrics -update
