// Package audit keeps the audit log: who did what when, as far as a policy in upstream's format
// (audit.k8s.io/v1 Policy) asks for it, written to a file or sent to a server.
//
// It is told of a request's stages by the API server and of annotations by whoever has some.
// It must not know how requests are served, nor what the objects in them mean.
package audit
