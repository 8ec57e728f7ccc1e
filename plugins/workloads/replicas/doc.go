// Package replicas keeps as many pods as an object asks for, for every kind that asks so:
// it makes what is missing, deletes what is too much (least useful first), adopts pods
// that match and have no controller, and reports the count in the status.
//
// It thinks in ReplicaSets. A Kind shows it objects of another kind as such; it must not
// know which kinds there are.
package replicas
