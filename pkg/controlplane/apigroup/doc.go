// Package apigroup adds API groups of our own to upstream's API server: what upstream
// has as a separate, aggregated server is served by the same process, with its
// authorization, audit and discovery.
//
// No APIService object stands for such a group. So a tenant who registers a server of
// their own under the same group and version just does so, with whatever tool they
// like, and it wins from then on, across restarts too: the aggregator hands to what is
// compiled in only what no APIService claims. When theirs is deleted, ours is back.
package apigroup
