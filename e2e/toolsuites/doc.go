// Package toolsuites runs the integration tests of the tools that a tenant's users have
// against a tenant, and against the host beneath it: controller-runtime's suites that take an
// existing cluster, upstream's shell tests of kubectl (test/cmd of k8s.io/kubernetes), and
// flows of Helm, whose own tests know no cluster. All of it comes from Go modules.
//
// reasons.yaml has what is left out and what fails, with the reason of each; a failure
// without one is an error. `make conformance-tools` writes the report, e2e/conformance/TOOLS.md.
package toolsuites
