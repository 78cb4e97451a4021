// Package apidocs serves the OpenAPI documents of a server's built-in API, versions 2 and 3, in place of upstream's
// handlers. They are upstream's documents, made by upstream's code. But upstream keeps of each the tree that it was made
// from, the text, and the definitions that went into it, for as long as the process lives: 40 MB that nobody looks at. Here
// a document is kept as compressed text, and one that nobody has asked for is not made.
package apidocs
