#!/usr/bin/env bash
# update-generated.sh: render manifests/ and the golden files of pkg/deploy from code.
. "$(dirname "$0")/lib.sh"
go test ./pkg/deploy -run 'TestManifestsAreRendered|TestRBAC' -update
