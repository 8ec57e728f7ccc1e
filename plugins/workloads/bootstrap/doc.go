// Package bootstrap looks after bootstrap tokens: it deletes those that have expired, and
// signs the ConfigMap kube-public/cluster-info with those that may be used for it, so that
// who holds a token can trust what the ConfigMap says before trusting anything else.
//
// It must not authenticate anybody: that is the server's.
package bootstrap
