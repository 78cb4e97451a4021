// Package explain tells what became of an object of the virtual cluster on the host: which
// object it is there, what was changed on the way and why, what the host answered, what came
// back, and what it is stuck on. It is pure, like the plan that it asks.
//
// What was changed is found by comparing the virtual object with its translation, field by
// field, and why stands in the kind's table of reasons (resource.Reason).
package explain
