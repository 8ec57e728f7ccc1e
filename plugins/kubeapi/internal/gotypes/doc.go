// Package gotypes knows the Go types of k8s.io/api by kind.
//
// It must know nothing of schemas or hooks.
package gotypes
