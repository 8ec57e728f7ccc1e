// Package traffic writes, reads and watches ConfigMaps through any server of a cluster, as
// the numbers of a seed say, and records what was asked and answered. It judges nothing but
// whether an answer is one that a client can understand.
package traffic
