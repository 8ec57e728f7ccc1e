// Package cluster makes several servers one: it gives each an identity, lets new ones in by a
// token, tells the leader whom to promote, whom to replace and whom to remove, and knows
// which servers there are and how they are.
//
// It must not know Kubernetes' types, nor how the store replicates: it uses the store's
// membership calls and questions between servers.
package cluster
