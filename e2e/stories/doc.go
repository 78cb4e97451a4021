// Package stories says what a tenant must be able to live through, as tests that run
// against any host: the simulated one of the sandbox and the real node run the same
// stories, and a story that needs real containers says so.
//
// A story is one file, or one entry of a file about the same subject. It makes
// namespaces of its own in the tenants, so that stories run side by side; what
// disturbs everybody (a killed process, a stopped host API) is marked Alone.
package stories
