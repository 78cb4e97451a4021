#!/usr/bin/env bash
# update-generated.sh: render manifests/, the golden files of pkg/deploy and the README's table of kinds from code.
. "$(dirname "$0")/lib.sh"
go test ./pkg/deploy -run 'TestManifestsAreRendered|TestRBAC' -update
go test ./syncer/resources -run TestTheTableOfKinds -update
