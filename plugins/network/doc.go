// Package network is Pintle's own pod network: every node has a range of pod addresses, a
// bridge that its pods are attached to through CNI, and routes to the ranges of the other
// nodes. Traffic that leaves the cluster is masqueraded, host ports are forwarded with
// nftables.
//
// It runs on each node as a plugin process and talks to the API as everyone does. It must
// not know containers or their runtime: a pod is a network namespace here.
package network
