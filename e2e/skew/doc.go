// Package skew runs the syncer against an API server that is two minor versions older
// than the tenant's, as upstream's version skew policy allows hosts to be. The program
// comes from the module e2e/oldhost; `make test-skew` builds it, since that takes minutes,
// and runs the tests. Without it they are skipped.
package skew
