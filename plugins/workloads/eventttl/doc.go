// Package eventttl deletes events an hour after they were last written. It keeps none of them
// in memory: what it remembers is how far the cluster's revisions had come at some times, so
// that an event's resourceVersion says how old it is at least.
package eventttl
