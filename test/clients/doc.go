// Package clients holds Pintle to what upstream's clients expect, against a real server
// process without a node.
package clients
