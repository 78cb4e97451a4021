#!/usr/bin/env bash
# update-modules.sh: make every go.mod list exactly what is imported.
. "$(dirname "$0")/lib.sh"
while read -r module; do
	(cd "$module" && go mod tidy)
done < <(modules)
