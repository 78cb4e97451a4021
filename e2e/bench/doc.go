// Package bench measures what the README claims, and prints it: times of a start by
// component, memory at rest, and a burst of pods in a tenant against the same burst
// directly on its host, in one run, as a ratio. It asserts nothing; `make bench` runs
// it and writes the lines to e2e/bench/RESULTS.md.
package bench
