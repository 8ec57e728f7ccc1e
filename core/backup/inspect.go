package backup

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/pintle-dev/pintle/core/store"
)

// Inventory is what a backup has.
type Inventory struct {
	Header  Header
	Summary Summary
	// Keys of the cluster, as paths in a data directory.
	Keys []string
	// Resources with their objects, in the order of names.
	Resources []Count
	// Newest is the newest revision of an object.
	Newest uint64
	// Sealed says that there was no identity to look into the content with: only the checksums
	// were checked.
	Sealed bool
}

// Count of one resource's objects.
type Count struct {
	Resource string
	Objects  int
	Bytes    int64
}

// Inspect reads all of a backup and checks everything that can be checked without a store.
func Inspect(r *Reader, identities ...age.Identity) (inv Inventory, err error) {
	inv.Header = r.Header()
	keys, state, err := r.Content(identities...)
	if errors.Is(err, ErrSealed) && len(identities) == 0 {
		inv.Sealed = true
		inv.Summary, err = r.Finish()
		return inv, err
	}
	if err != nil {
		return inv, err
	}
	for _, f := range keys {
		inv.Keys = append(inv.Keys, f.Path)
	}
	counts := map[string]*Count{}
	var objects uint64
	var last store.Key
	revision, readErr := store.ReadBackup(state, func(o store.Object) error {
		bucket, _, _ := strings.Cut(string(o.Key), "/")
		if strings.Count(string(o.Key), "/") < 2 || o.Key <= last {
			return fmt.Errorf("object %q behind %q is out of order", o.Key, last)
		}
		c := counts[bucket]
		if c == nil {
			c = &Count{Resource: bucket}
			counts[bucket] = c
		}
		c.Objects++
		c.Bytes += int64(len(o.Data))
		objects++
		last, inv.Newest = o.Key, max(inv.Newest, o.Revision)
		return nil
	})
	if inv.Summary, err = r.Finish(); err != nil {
		return inv, err
	}
	switch {
	case readErr != nil:
		return inv, readErr
	case revision != inv.Header.Revision || inv.Newest > revision:
		return inv, fmt.Errorf("the state is at revision %d with objects of revision %d, and the header says %d", revision, inv.Newest, inv.Header.Revision)
	case objects != inv.Summary.Objects:
		return inv, fmt.Errorf("%d objects are there and %d were written", objects, inv.Summary.Objects)
	}
	for _, c := range counts {
		inv.Resources = append(inv.Resources, *c)
	}
	slices.SortFunc(inv.Resources, func(a, b Count) int { return strings.Compare(a.Resource, b.Resource) })
	return inv, nil
}
