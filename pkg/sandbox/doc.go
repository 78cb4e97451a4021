// Package sandbox is a simulated host with tenants on it: the host inside this
// process, each tenant a child process that runs the real `nestling serve` with
// the rights of its own ServiceAccount and nothing more.
//
// The command nestling-sandbox, tests and the benchmark share it.
package sandbox
