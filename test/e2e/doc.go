// Package e2e runs the whole of Pintle as a user has it: the built binary, real processes,
// real containerd and runc, a real kubectl, a real registry on loopback. It knows the
// command line and the API and nothing of what is inside.
package e2e
