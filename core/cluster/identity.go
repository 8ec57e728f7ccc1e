package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/pintle-dev/pintle/core/auth/pki"
)

// FirstID is the identity of servers that were made before identities were kept.
const FirstID = "server"

// Identity is who a server is. It is made at the first start and never changes.
type Identity struct {
	// Name is the operator's: unique in the cluster, taken over by a replacement.
	Name string `json:"name"`
	// ID is the server's among the voters. It is the name and something random, so that a
	// replacement with the same name is somebody else and can't vote a second time.
	ID string `json:"id"`
	// Peers, of a server that joined, are the addresses that were known then. A server
	// without any has founded its cluster.
	Peers []string `json:"peers,omitempty"`
	// Opened says that there has been a store, and Joined that the cluster has let this
	// server in.
	Opened bool `json:"opened,omitempty"`
	Joined bool `json:"joined,omitempty"`
}

// NewIdentity makes an identity for a server called name.
func NewIdentity(name string) (Identity, error) {
	if err := CheckName(name); err != nil {
		return Identity{}, err
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return Identity{Name: name, ID: name + "-" + hex.EncodeToString(b[:])}, nil
}

// CheckName says what is wrong with the name of a server.
func CheckName(name string) error {
	if msgs := validation.IsDNS1123Subdomain(name); len(msgs) > 0 {
		return fmt.Errorf("%q: %s", name, msgs[0])
	}
	return nil
}

// DefaultName is the machine's host name, as far as it can be a server's.
func DefaultName() string {
	host, err := os.Hostname()
	if host = strings.ToLower(host); err != nil || CheckName(host) != nil {
		return FirstID
	}
	return host
}

// LoadIdentity reads the identity in file; ok is false where there is none. name is what
// the configuration says, empty where it says nothing: another than the kept one is an error.
func LoadIdentity(file, name string) (id Identity, ok bool, err error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, false, nil
	}
	if err != nil {
		return Identity{}, false, fmt.Errorf("identity of this server: %w", err)
	}
	if err := json.Unmarshal(b, &id); err != nil || id.Name == "" || id.ID == "" {
		return Identity{}, false, fmt.Errorf("identity of this server: %s is damaged: remove the data directory and join this server to its cluster again, "+
			"or, where it is the only one, restore a backup", file)
	}
	if name != "" && name != id.Name {
		return Identity{}, false, fmt.Errorf("name: the configuration says %q, but this server was started as %q (%s); a server keeps its name. "+
			"To have another, remove it from its cluster and join it anew with an empty data directory", name, id.Name, file)
	}
	return id, true, nil
}

// Save keeps the identity in file.
func (id Identity) Save(file string) error {
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return fmt.Errorf("identity of this server: %w", err)
	}
	if err := pki.WriteFile(file, append(b, '\n')); err != nil {
		return fmt.Errorf("identity of this server: %w", err)
	}
	return nil
}
