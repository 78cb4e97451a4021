// Package dns is the tenant's DNS: CoreDNS as a library, in the tenant's process.
package dns
