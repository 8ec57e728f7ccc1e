// Package disruption keeps the status of PodDisruptionBudgets: how many of their pods are
// healthy, how many have to be, and how many may therefore be evicted now. The eviction
// subresource of pods lowers that number with each eviction; this controller raises it
// again. It also takes back the DisruptionTarget condition of pods that were not
// disrupted after all.
//
// It must not know how pods are evicted.
package disruption
