// Package drabins pins what a host with devices needs beside its nodes: a driver of dynamic
// resource allocation, on upstream's library for drivers.
package drabins
