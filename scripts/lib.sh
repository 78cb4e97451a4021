# shellcheck shell=bash
# What the scripts share; sourced, not run. It leaves the caller in the repository's root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# The flags of the Makefile: one build cache serves everything.
export CGO_ENABLED=0
case " ${GOFLAGS:-} " in *" -trimpath "*) ;; *) export GOFLAGS="${GOFLAGS:+$GOFLAGS }-buildvcs=false -trimpath" ;; esac

# modules lists the directories of the Go modules of this repository.
modules() { printf '%s\n' . e2e/hostbins e2e/operatorbins e2e/metricsbins e2e/csibins e2e/appbins e2e/drabins e2e/prombins; }

# kubernetes_modules lists those that build Kubernetes itself.
kubernetes_modules() { printf '%s\n' . e2e/hostbins; }

# required MODULE-DIRECTORY PATH prints the version of PATH that the module requires.
required() { awk -v path="$2" '$1 == path && $2 ~ /^v/ { print $2; exit } $1 == "require" && $2 == path { print $3; exit }' "$1/go.mod"; }

# staging VERSION prints the modules that upstream develops in k8s.io/kubernetes of that version.
staging() {
	local directory
	directory=$(go list -m -f '{{.Dir}}' "k8s.io/kubernetes@$1")
	if [ -z "$directory" ]; then
		directory=$(go mod download -json "k8s.io/kubernetes@$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	fi
	sed -n 's|^\t\(k8s.io/[^ ]*\) => ./staging/src/.*|\1|p' "$directory/go.mod" | sort
}

# fail prints one line and ends the script.
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
