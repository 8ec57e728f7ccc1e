// Package volumes knows which nodes the volumes of a pod's claims can be reached from, or made for,
// and for which claims a node has to be chosen first.
//
// It must not know how objects arrive, nor what else is asked of a node.
package volumes
