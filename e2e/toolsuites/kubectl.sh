#!/usr/bin/env bash
# kubectl.sh: run upstream's integration tests of kubectl (test/cmd) against a cluster that is there.
#
# It is run in a copy of the needed parts of k8s.io/kubernetes, and takes the place of
# hack/make-rules/test-cmd.sh, which builds and starts an API server, a controller manager
# and etcd. From the environment: SERVER, the URL of the API, TOKEN of an administrator,
# CERTIFICATE, the file of its authority's, SCRATCH and LOGS, directories, EXCLUDED, names of
# functions, and PATIENCE, the seconds that one may take; ONLY, if not empty, are the
# functions to run.
# It prints `RESULT outcome seconds name` for each function, and `RESULT failed 0 line-N` for
# each check that stands between them, in line N of legacy-script.sh, and fails.
set -o errexit -o nounset -o pipefail

export TERM=${TERM:-dumb} HOME=$SCRATCH TMPDIR=$SCRATCH
unset KUBECONFIG
source hack/lib/init.sh
source hack/lib/test.sh
source test/cmd/legacy-script.sh >"$LOGS/driver.log" 2>&1

# Upstream's starts etcd and builds kubectl; what is left of it is the kubeconfig, whose context has to have this name.
CONTEXT=test
kube::util::ensure-temp-dir
kube::util::ensure-gnu-sed
{
	kubectl config set-credentials test-admin --token "$TOKEN"
	kubectl config set-cluster local --insecure-skip-tls-verify --server "$SERVER"
	kubectl config set-context "$CONTEXT" --user test-admin --cluster local
	kubectl config use-context "$CONTEXT"
} >>"$LOGS/driver.log" 2>&1
# Upstream's API server leaves its own here; the tests want any certificate.
cp "$CERTIFICATE" "$TMPDIR/apiserver.crt"

# It wants the authority of upstream's own test data; any cluster has another.
kube::util::test_client_certificate_authentication_enabled() { :; }

# result OUTCOME SECONDS NAME says how a function ended.
result() { printf 'RESULT %s %s %s\n' "$@" >&3; }

# record_command replaces upstream's: one log for each function, a limit of its time, and the end of all that it started.
record_command() {
	local name=$1 begin=$SECONDS outcome=passed pid watchdog
	case " ${ONLY:-$name} " in *" $name "*) ;; *) return 0 ;; esac
	case " $EXCLUDED " in *" $name "*) return 0 ;; esac
	set -o monitor # each job is a process group
	(
		set +o monitor
		set -o errexit -o nounset -o pipefail
		kube::log::install_errexit
		"$@"
	) >"$LOGS/$name.log" 2>&1 </dev/null 3>&- &
	pid=$!
	(
		sleep "$PATIENCE"
		echo "FAIL! not done after $PATIENCE seconds" >>"$LOGS/$name.log"
		kill -KILL -- "-$pid"
	) >/dev/null 2>&1 3>&- &
	watchdog=$!
	set +o monitor
	if ! wait "$pid"; then outcome=failed; fi
	for group in "$watchdog" "$pid"; do # such as a proxy, where the function failed before it stopped it
		kill -KILL -- "-$group" || true
	done
	wait "$watchdog" || true
	result "$outcome" $((SECONDS - begin)) "$name"
} 2>/dev/null

# inline_failed says which line of runTests failed; what runs there is no function that could be named.
inline_failed() {
	local i line=$1
	for ((i = 1; i < ${#FUNCNAME[@]}; i++)); do
		[ "${FUNCNAME[$i]}" != runTests ] || break
		line=${BASH_LINENO[$i]}
	done
	result failed 0 "line-$line"
}

# Versions are compared with the commit and the Go that built them.
export ALLOW_SKEW=true SUPPORTED_RESOURCES=("*")
exec 3>&1 >>"$LOGS/driver.log" 2>&1
set +o errexit
trap 'inline_failed $LINENO' ERR
runTests
result passed 0 end
