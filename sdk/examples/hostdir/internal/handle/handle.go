// Package handle is what both halves of the storage agree on: its name, how a volume is called, and
// the words that they leave each other at a PersistentVolume.
package handle

import (
	"fmt"
	"strings"
)

// Driver is the storage's name.
const Driver = "hostdir.example.dev"

// TopologyKey is the label of nodes that says where a directory is.
const TopologyKey = "kubernetes.io/hostname"

// Annotations of a PersistentVolume: Remove, with the volume's handle, asks its node to remove the
// directory, and Removed says that it did.
const (
	Remove  = Driver + "/remove"
	Removed = Driver + "/removed"
)

// Of returns the handle of a volume: a directory of a node.
func Of(node, name string) string { return node + "/" + name }

// Parse reads a handle, and fails for what is none.
func Parse(handle string) (node, name string, err error) {
	node, name, ok := strings.Cut(handle, "/")
	if !ok || node == "" || name == "" || name[0] == '.' || strings.Contains(name, "/") {
		return "", "", fmt.Errorf("%q is no volume of this storage: it would be NODE/NAME", handle)
	}
	return node, name, nil
}
