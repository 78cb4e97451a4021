// Package tokens keeps the ServiceAccount tokens that pods ask for in projected volumes.
//
// They are real tokens of the virtual cluster, from its TokenRequest API, bound to the
// virtual pod: they carry the audience and the lifetime that the pod asked for, and are
// worth nothing once it is gone. Each pod has one host Secret with all of its tokens,
// made before its host pod, renewed in place while it runs, deleted when it has ended.
// When each token was issued and ends is written on the Secret, so that a restart makes
// none anew.
package tokens
