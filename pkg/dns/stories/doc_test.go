// Package stories asks a DNS over a real API server what the specification lists.
package stories
