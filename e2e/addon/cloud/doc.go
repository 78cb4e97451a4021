// Package cloud plays the host's platform for tests: it gives Services of type
// LoadBalancer an address, and serves Ingresses of its class, with TLS, its own or passed through, from the host's
// objects alone, as the controllers of a real platform do. It knows nothing of tenants.
package cloud
