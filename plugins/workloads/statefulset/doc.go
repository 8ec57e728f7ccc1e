// Package statefulset keeps the pods of StatefulSets: each with a number, a name and
// claims of its own that outlive it, made and removed in order, and brought to a new
// template from the highest number down.
package statefulset
