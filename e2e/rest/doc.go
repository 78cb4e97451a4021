// Package rest holds the test that a cluster at rest is not written to: with many objects
// of every kind synced, nothing moves on either side. `make test` does it with few objects
// and for a short time, `make calm` with 300 of each for five minutes.
package rest
