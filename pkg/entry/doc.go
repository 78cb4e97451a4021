// Package entry is a way into a tenant from wherever the caller is: by the address in its kubeconfig if that answers
// here, and by a tunnel through the host's API if it does not. The way is a kubeconfig for the time being, made of what
// can do no harm in the kubeconfig that the host keeps.
package entry
