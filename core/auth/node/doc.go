// Package node decides what node agents may do: what upstream's role system:node allows,
// but for writes and for secrets only as far as they concern the node itself and the pods
// bound to it.
package node
