// Package child runs one command on behalf of ours, as if it were ours: its streams, signals and exit code are. It ends
// with us, and nothing that it started in its process group outlives it.
package child
