#!/usr/bin/env bash
# update-kubernetes.sh VERSION: move to another release of Kubernetes, such as v1.36.4, in every place that names it.
. "$(dirname "$0")/lib.sh"

version=${1:-$(required . k8s.io/kubernetes)} # without an argument: make the replace lines agree again
[[ $version =~ ^v1\.[0-9]+\.[0-9]+$ ]] || fail "\"$version\" is no release such as v1.36.4"

while read -r module; do
	(
		trap 'rm -f .replace' EXIT
		cd "$module"
		staging "$version" | sed "s|\(.*\)|\t\1 => \1 v0.${version#v1.}|" >.replace # before go.mod changes: it asks the go command
		# shellcheck disable=SC2046 # one flag a word
		go mod edit $(sed -n 's|^\t\(k8s.io/[^ ]*\) => .*|-dropreplace=\1|p' go.mod) "-require=k8s.io/kubernetes@$version"
		{ printf '\nreplace (\n'; cat .replace; printf ')\n'; } >>go.mod
		go mod edit -fmt
		go mod tidy
	)
done < <(kubernetes_modules)
sed -i "s|kubernetes = \"v[^\"]*\"|kubernetes = \"$version\"|" pkg/version/version.go
scripts/verify-kubernetes.sh
echo "Kubernetes is $version. Next: make verify build test; and read upstream's CHANGELOG for flags and controllers."
