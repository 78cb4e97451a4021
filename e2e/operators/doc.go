// Package operators builds real operators from the nested module e2e/operatorbins, and
// makes the manifests with which their users install them, from the files of their own
// modules.
package operators
