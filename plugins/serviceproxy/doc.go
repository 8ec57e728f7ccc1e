// Package serviceproxy makes Services work on a node: what is sent to a cluster IP, a node
// port, an external IP or a load balancer's IP reaches one of the service's endpoints. The
// kernel does it, with rules in one nftables table per address family; this package only
// writes them.
//
// Packets are looked up in maps by address, protocol and port, so that a packet costs the
// same with one service and with ten thousand. What the table must hold is a pure function
// of Services, EndpointSlices and facts about the node (table_reconcile.go); what differs
// from what was written last is written in one transaction (table.go). Connections that
// stand live in the kernel's connection tracking and do not notice.
//
// It runs on each node as a plugin process and talks to the API as everyone does. It must
// not know how pods are attached to the network, nor other plugins.
package serviceproxy
