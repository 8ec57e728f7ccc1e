package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// TestTransactionsThroughAnyServer writes through all servers while the lead changes hands, and
// reads everywhere: nobody sees a part, and what was acknowledged is there.
func TestTransactionsThroughAnyServer(t *testing.T) {
	nodes := cluster(t, 3, nil)
	leader(t, nodes)
	const writers, rounds = 3, 20
	var (
		wg, readers sync.WaitGroup
		done        atomic.Bool
		acked       [writers]uint64
		lists       atomic.Int64
	)
	for w := range writers {
		wg.Go(func() {
			name := fmt.Sprint("g", w)
			for i := range rounds {
				if w == 0 && i%7 == 6 {
					if err := leader(t, nodes).TransferLeadership(); err != nil {
						t.Log("transfer:", err)
					}
				}
				// Without the object that comes and goes: what an attempt of unknown outcome
				// has left would have to be found out first.
				value := fmt.Sprint(2*i + 1)
				for begin := time.Now(); ; {
					o, err := transact(nodes[(w+i)%len(nodes)], name, value, false)
					if err == nil {
						acked[w] = o[0].Revision
						break
					}
					if !errors.Is(err, store.ErrNotLeader) && !errors.Is(err, store.ErrUnknownOutcome) || time.Since(begin) > 30*time.Second {
						t.Errorf("transaction through server %d: %v", (w+i)%len(nodes), err)
						return
					}
				}
			}
		})
	}
	for _, s := range nodes {
		readers.Go(func() {
			for !done.Load() {
				groups, _, err := listGroups(t, s, 0)
				if errors.Is(err, store.ErrCompacted) {
					continue // A snapshot was installed between the lists.
				}
				if err != nil {
					t.Error(err)
					return
				}
				for g, found := range groups {
					checkGroup(t, found, g)
				}
				lists.Add(1)
			}
		})
	}
	wg.Wait()
	done.Store(true)
	readers.Wait()
	if lists.Load() == 0 {
		t.Fatal("nobody has read")
	}
	newest := leader(t, nodes).Revision()
	for i, s := range nodes {
		waitFor(t, s, newest)
		for w := range writers {
			keys := groupKeys(fmt.Sprint("g", w))
			found := map[store.Key]store.Object{}
			for _, k := range keys {
				o, err := s.Get(context.Background(), k)
				if err != nil {
					t.Fatalf("server %d: %s: %v", i, k, err)
				}
				found[k] = o
			}
			if v := checkGroup(t, found, fmt.Sprint("g", w)); v != fmt.Sprint(2*rounds-1) || found[keys[0]].Revision < acked[w] {
				t.Errorf("server %d: group %d is at %q and revision %d, acknowledged at %d", i, w, v, found[keys[0]].Revision, acked[w])
			}
		}
	}
}
