// Package probe asks containers how they are: by running a command, over HTTP, by opening
// a TCP connection, or with the gRPC health protocol. It makes single checks; when to
// check and what follows is the agent's matter.
package probe
