// Nestling-sandbox is a simulated host cluster with a nestling on it.
package main

import (
	"context"
	"os"

	"nestling.dev/nestling/pkg/sandbox/command"
)

func main() {
	os.Exit(command.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
