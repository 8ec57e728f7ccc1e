// Package peer carries messages between the servers of one cluster: it shares one listener
// between Raft's connections and its own, whose first byte tells them apart, and sends
// requests with answers in any order over one connection for each pair of servers.
//
// It knows frames and connections. It must not know what the messages mean, who leads, or
// what a certificate says beyond whose it is.
package peer
