// Package cluster tests three real server processes as an operator has them: they join by a
// token, one is killed, one is replaced, one is removed, and clients go on.
package cluster
