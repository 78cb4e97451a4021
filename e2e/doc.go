// Package e2e tells the stories on both hosts: sandbox_test.go on the simulated one,
// as part of `make test`, and real_test.go on real nodes, as `make e2e`.
package e2e
