// Package defaults gives every namespace what pods in it need to start: the
// ServiceAccount "default" and the ConfigMap "kube-root-ca.crt" with which pods verify
// the API server.
package defaults
