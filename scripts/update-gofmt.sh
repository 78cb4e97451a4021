#!/usr/bin/env bash
# update-gofmt.sh: format every Go file.
. "$(dirname "$0")/lib.sh"
git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0r ls 2>/dev/null | xargs -r gofmt -s -w
