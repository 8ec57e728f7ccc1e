package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"

	"github.com/pintle-dev/pintle/core/store"
)

// Store is what is backed up; *store.Store implements it.
type Store interface {
	// Barrier waits until everything acknowledged is here.
	Barrier(ctx context.Context) error
	// Backup pins the state.
	Backup() (*store.Backup, error)
}

// Cluster is what a server knows of what it backs up.
type Cluster struct {
	Store Store
	// ID of the cluster; "" where it is not known yet.
	ID func(ctx context.Context) string
	// Keys reads the cluster's keys.
	Keys func() ([]File, error)
	// Version of the server.
	Version string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Options say what of a cluster is written, and for whom.
type Options struct {
	// Keys writes the cluster's keys, too.
	Keys bool
	// Recipients seal the content.
	Recipients []age.Recipient
}

// Snapshot is a cluster at one revision, pinned until Close.
type Snapshot struct {
	cluster Cluster
	state   *store.Backup
	keys    []File
	header  Header
	to      []age.Recipient
}

// Pin decides what is written: everything that was acknowledged before the call is in it.
func (c Cluster) Pin(ctx context.Context, o Options) (_ *Snapshot, err error) {
	s := &Snapshot{cluster: c, to: o.Recipients}
	if o.Keys {
		if s.keys, err = c.Keys(); err != nil {
			return nil, fmt.Errorf("backup: keys of the cluster: %w", err)
		}
		if len(s.keys) == 0 {
			return nil, errors.New("backup: the cluster has no keys")
		}
	}
	if err := c.Store.Barrier(ctx); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	if s.state, err = c.Store.Backup(); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	s.header = Header{
		Cluster: c.ID(ctx), Revision: s.state.Revision(), Created: now().UTC().Truncate(time.Second),
		Server: c.Version, Keys: o.Keys,
	}
	return s, nil
}

// Header of the backup that Write writes, but for its form.
func (s *Snapshot) Header() Header { return s.header }

// Write writes the backup.
func (s *Snapshot) Write(ctx context.Context, w io.Writer) (Summary, error) {
	_, sum, err := Write(ctx, w, Content{Header: s.header, Keys: s.keys, Recipients: s.to, State: s.state.Stream})
	return sum, err
}

// Close lets the revision go.
func (s *Snapshot) Close() { s.state.Close() }
