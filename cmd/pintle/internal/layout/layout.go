// Package layout says where things are in a data directory. It knows paths and nothing
// else.
package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// Dir is the layout of one data directory.
type Dir string

// maxSocketDir is the longest data directory below which unix sockets still fit: their
// paths are limited to 107 bytes.
const maxSocketDir = 48

// At returns the layout of a data directory and touches nothing.
func At(path string) (Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("data directory %s: %w", path, err)
	}
	return Dir(abs), nil
}

// Restoring is a file that says that a backup has not been restored completely.
func (d Dir) Restoring() string { return d.join("RESTORING") }

// Make makes the directories that processes expect.
func (d Dir) Make() error {
	if _, err := os.Lstat(d.Restoring()); err == nil {
		return fmt.Errorf("data directory: a backup was being restored into %s and that did not end well: restore it again", d)
	}
	for _, sub := range []string{string(d), d.Logs(), d.Run(), d.Node()} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	return nil
}

func (d Dir) join(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

// Kubeconfig of the administrator.
func (d Dir) Kubeconfig() string { return d.join("admin.kubeconfig") }

// Config is the configuration that the cluster was started with.
func (d Dir) Config() string { return d.join("config.json") }

// PKI holds the certificate authority, and Keys the keys that sign tokens.
func (d Dir) PKI() string { return d.join("pki") }

// Keys sign service-account tokens.
func (d Dir) Keys() string { return d.join("pki", "serviceaccount") }

// Peers holds the authority by which the servers of a cluster know each other.
func (d Dir) Peers() string { return d.join("pki", "peer") }

// Identity says who this server is among those of its cluster.
func (d Dir) Identity() string { return d.join("server.json") }

// Store holds the Raft log and the state.
func (d Dir) Store() string { return d.join("store") }

// Logs of the processes.
func (d Dir) Logs() string { return d.join("logs") }

// Log of one process.
func (d Dir) Log(process string) string { return d.join("logs", process+".log") }

// Node is the node agent's directory.
func (d Dir) Node() string { return d.join("node") }

// Run holds sockets and locks: below the data directory where paths stay short enough,
// else below /run.
func (d Dir) Run() string {
	if len(d) <= maxSocketDir {
		return d.join("run")
	}
	return "/run/pintle-" + d.ID()
}

// Lock of one process; its content is the process id.
func (d Dir) Lock(process string) string { return filepath.Join(d.Run(), process+".pid") }

// APISocket is the API server's unix socket.
func (d Dir) APISocket() string { return filepath.Join(d.Run(), "api.sock") }

// NodeAPISocket is the API on a node, for plugins of third parties.
func (d Dir) NodeAPISocket() string { return filepath.Join(d.Run(), "node-api.sock") }

// Host is the plugin host's directory of one process, "server" or "node"; it holds sockets
// too.
func (d Dir) Host(process string) string {
	if len(d) <= maxSocketDir {
		return d.join("hosts", process)
	}
	return filepath.Join(d.Run(), "hosts", process)
}

// Catalogue caches the binaries of plugins that come from elsewhere.
func (d Dir) Catalogue() string { return d.join("catalogue") }

// Plugin is the private directory that a host gives to one of its plugins.
func (d Dir) Plugin(process, plugin string) string {
	return filepath.Join(d.Host(process), "plugins", plugin)
}

// Containerd holds the agent's own containerd, its sockets among the rest; where they
// would not fit it is below /var/lib.
func (d Dir) Containerd() string {
	if len(d) <= maxSocketDir {
		return d.join("node", "containerd")
	}
	return "/var/lib/pintle-" + d.ID() + "/containerd"
}

// ID tells this data directory from others on the machine, for names that are shared.
func (d Dir) ID() string {
	sum := sha256.Sum256([]byte(d))
	return hex.EncodeToString(sum[:4])
}
