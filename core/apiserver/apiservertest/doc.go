// Package apiservertest runs an API server in the process of a test: over a store of its own,
// with the types, users and plugins that the test gives it, and a client that asks it. It
// knows no Kubernetes kinds; a server with those is in test/apiserver.
package apiservertest
