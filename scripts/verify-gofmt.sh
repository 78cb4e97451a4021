#!/usr/bin/env bash
# verify-gofmt.sh: every Go file is formatted. Its twin is update-gofmt.sh.
. "$(dirname "$0")/lib.sh"
unformatted=$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0r ls 2>/dev/null | xargs -r gofmt -s -l)
[ -z "$unformatted" ] || fail "not formatted, run make update-gofmt: $(echo $unformatted)"
