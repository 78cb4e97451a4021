#!/usr/bin/env bash
# verify-shell.sh: every shell script parses, and says at its head what it is for. It has no twin.
. "$(dirname "$0")/lib.sh"
for script in scripts/*.sh scripts/e2e-packages .ci/run; do
	head -n 1 "$script" | grep -q '^#!.*bash' && shell=bash || shell=sh
	[ "$script" = scripts/lib.sh ] && shell=bash
	"$shell" -n "$script" || fail "$script: does not parse"
	[ "$script" = scripts/lib.sh ] || [ -x "$script" ] || fail "$script: is not executable"
	sed -n 2p "$script" | grep -q '^# ' || fail "$script: the second line does not say what it is for"
done
