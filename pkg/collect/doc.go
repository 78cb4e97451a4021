// Package collect gathers both sides of a tenant for a bug report: the objects of the tenant and its control plane on the
// host, the objects of the tenant's own API, events, logs and metrics. It takes what it gets: what cannot be had, because a
// right is missing or the tenant's API is dead, is a line in the report.
//
// Nobody's secrets are to be in it. What is replaced, by the word and the size of what was there (see redact.go):
//   - all data of Secrets, annotations that hold a former version of an object, and the tokens and keys that are recognized
//     in any text, logs among them: JWTs, private keys, bearer headers, passwords in URLs;
//   - values of environment variables, arguments, fields and lines whose name says that they are secret, such as
//     DB_PASSWORD, --api-key or clientSecret. References to Secrets stay.
//
// The tenant is not trusted: answers, logs, objects and time are bounded, and no name from its API leads out of the report.
package collect
