// Package agent is the node agent: it registers a node, keeps its lease, and runs the
// pods bound to it with one small state machine per pod.
//
// A pod's worker looks at what is wanted (the Pod) and what there is (the runtime's
// containers, probe results, failed attempts), decides with a pure function (Decide)
// what to do next, does it, and reports (ComputeStatus). Everything is driven by events:
// watch events of the node's own pods, task exits of the runtime, probe results, timers;
// a slow resync is only a backstop.
//
// The package does not know which runtime or network it drives: it knows the interfaces
// in sdk/runtimedriver and Network. It does not know the core.
package agent
