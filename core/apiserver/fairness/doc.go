// Package fairness is API Priority and Fairness: it sorts requests by the FlowSchema objects
// of flowcontrol.apiserver.k8s.io/v1 into priority levels, gives each level its share of the
// requests that may be served at once, and queues or refuses what is above it.
//
// The objects, their meaning, the answers' headers and the metrics are Kubernetes'. What
// differs is how seats are lent: Kubernetes moves the levels' limits every ten seconds by what
// it has measured; here a seat is lent in the moment it is free. A level may always have the
// seats that it doesn't lend out, and more, up to what it may borrow, as long as every other
// level's own part stays free.
//
// The package must not know what the requests do or how they are answered.
package fairness
