// Package authtest has what tests of authentication need of the outside: a provider of ID
// tokens and servers that are named by kubeconfig files. Only tests use it.
package authtest
