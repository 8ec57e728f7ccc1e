package replicas

// LeastUseful is the order in which pods are deleted.
var LeastUseful = leastUseful
