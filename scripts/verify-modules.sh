#!/usr/bin/env bash
# verify-modules.sh: every go.mod lists exactly what is imported. Its twin is update-modules.sh.
. "$(dirname "$0")/lib.sh"
while read -r module; do
	(cd "$module" && go mod tidy -diff >/dev/null) || fail "$module/go.mod is not tidy: run make update-modules"
done < <(modules)
