// Package access keeps the Secrets on the host with which people and programs reach the tenant's API: the
// administrator's, TENANT-kubeconfig, and those that the configuration asks for.
//
// Each holds a server URL that works for the way on which the API is exposed, and a credential that lives for a while
// longer. A Secret comes into being when all of that is known, and not before: who waits for it waits for something
// that works. While the host does not tell an address any more, it stays as it was.
//
// What expires, and who renews it:
//
//   - the administrator's certificate, a year; those of further users, 90 days; ServiceAccounts' tokens, a day: this
//     package, when a third of that is left
//   - the API server's serving certificate, a year: the API server, which also gets new names from here
//   - certificates of clients and servers within the process never leave it, and live as long as the tenant's
//     authority, which lives for ten years. pki.Bundle.Renewed gives it another ten at a start that finds less than
//     four left, with the same key, so that all that it has signed stays good
//   - the API server's certificate for itself, three years: it is not renewed, but fails /livez when it is over, and
//     the pod is restarted. So no process, and nothing that is issued at its start, gets older
//   - the host's token for this process: client-go reads it again from its file
//
// The functions in location.go and content.go decide, without clients; the Keeper acts.
package access
