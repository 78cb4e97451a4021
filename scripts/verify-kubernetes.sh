#!/usr/bin/env bash
# verify-kubernetes.sh: everything that names the version of Kubernetes, or of etcd, names the same one.
# Its twin is `update-kubernetes.sh VERSION`.
. "$(dirname "$0")/lib.sh"

version=$(required . k8s.io/kubernetes)
[[ $version =~ ^v1\.[0-9]+\.[0-9]+$ ]] || fail "go.mod: k8s.io/kubernetes is \"$version\", no release"
want=$(staging "$version" | sed "s|\(.*\)|\1 => \1 v0.${version#v1.}|")

while read -r module; do
	found=$(required "$module" k8s.io/kubernetes)
	[ "$found" = "$version" ] || fail "$module/go.mod: k8s.io/kubernetes is $found, want $version"
	got=$(sed -n 's|^\t\(k8s.io/[^ ]* => .*\)|\1|p' "$module/go.mod" | sort)
	[ "$got" = "$want" ] || fail "$module/go.mod: replace lines differ from upstream's list at $version:
$(diff <(echo "$want") <(echo "$got") || true)"
	etcd=$(required "$module" go.etcd.io/etcd/server/v3)
	# Data written by one minor of etcd panics another, so both sides of a test run the same.
	[ "$etcd" = "$(required . go.etcd.io/etcd/server/v3)" ] || fail "$module/go.mod: etcd is $etcd"
	for part in api client/pkg client pkg; do
		[ "$(required "$module" "go.etcd.io/etcd/$part/v3")" = "$etcd" ] || fail "$module/go.mod: go.etcd.io/etcd/$part/v3 is not $etcd"
	done
done < <(kubernetes_modules)

grep -q "kubernetes = \"$version\"" pkg/version/version.go || fail "pkg/version/version.go: kubernetes is not $version"
