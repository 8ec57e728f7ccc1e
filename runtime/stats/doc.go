// Package stats sums the measurements of a node's containers up in the form of the
// kubelet's summary API, which metrics servers read.
package stats
