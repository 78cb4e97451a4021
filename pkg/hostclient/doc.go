// Package hostclient reaches the host's API server, and finds out before anything is started whether the host has
// what a tenant needs: its namespace, its anchor, its Service, and the rights of its Role. What is missing becomes one
// line that says what to do.
package hostclient
