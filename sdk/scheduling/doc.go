// Package scheduling is the extension point for a part in the decisions of Pintle's scheduler:
// which nodes a pod may run on, which of them is best, when it is bound, and how. A plugin has
// one part or several. What is asked is always about a set of nodes, and nodes are sent when
// they change and not with each question. Who wants to decide alone writes a whole scheduler:
// package scheduler.
package scheduling
