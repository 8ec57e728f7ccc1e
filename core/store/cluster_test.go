package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

func nodeConfig(t testing.TB, i int) store.Config {
	cfg := testConfig(t.TempDir())
	cfg.NodeID = fmt.Sprint("s", i)
	cfg.Address = "127.0.0.1:0"
	cfg.Bootstrap = i == 0
	cfg.HeartbeatTimeout = 200 * time.Millisecond
	return cfg
}

// cluster starts n voters that talk TCP.
func cluster(t testing.TB, n int, change func(*store.Config)) []*store.Store {
	t.Helper()
	var nodes []*store.Store
	for i := range n {
		cfg := nodeConfig(t, i)
		if change != nil {
			change(&cfg)
		}
		s := open(t, cfg)
		nodes = append(nodes, s)
		if i > 0 {
			join(t, nodes[0], cfg.NodeID, s)
		}
	}
	// Raft lets nobody vote for a server that it does not know of: a test may end the leader
	// when all have heard of all.
	deadline := time.Now().Add(20 * time.Second)
	for _, s := range nodes {
		for len(s.Peers()) < n {
			if time.Now().After(deadline) {
				t.Fatalf("%s knows of %+v only", s.ID(), s.Peers())
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nodes
}

func join(t testing.TB, leader *store.Store, id string, s *store.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := leader.AddVoter(ctx, id, s.Address()); err != nil {
		t.Fatal(err)
	}
}

// leader waits until one of nodes leads.
func leader(t testing.TB, nodes []*store.Store) *store.Store {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		changes := make(chan struct{}, len(nodes))
		for _, s := range nodes {
			changed := s.LeadershipChanged()
			if leads, _ := s.Leadership(); leads {
				return s
			}
			go func() { <-changed; changes <- struct{}{} }()
		}
		select {
		case <-changes:
		case <-deadline:
			t.Fatal("nobody leads")
		}
	}
}

func waitFor(t testing.TB, s *store.Store, revision uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.WaitFor(ctx, revision); err != nil {
		t.Fatal(err)
	}
}

func TestFollowersApplyAndWatch(t *testing.T) {
	nodes := cluster(t, 3, nil)
	lead := leader(t, nodes)
	watchers := map[*store.Store]*store.Watcher{}
	for _, s := range nodes {
		w, err := s.Watch(context.Background(), "pods/", 1)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		watchers[s] = w
	}
	var last store.Object
	for i := range 50 {
		last = mustPut(t, lead, fmt.Sprintf("pods/a/p%d", i%10), fmt.Sprint(i))
	}
	var follower *store.Store
	for _, s := range nodes {
		waitFor(t, s, last.Revision)
		evs := next(t, watchers[s], 50)
		if evs[49].Revision != last.Revision || check(t, evs[49].Data, last.Revision) != "49" {
			t.Errorf("the last event is %s", describe(evs[49]))
		}
		if s != lead {
			follower = s
		}
	}
	if n := len(follower.Peers()); n != 3 {
		t.Errorf("%d peers", n)
	}
	if err := lead.Barrier(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestAnotherLeaderGoesOn(t *testing.T) {
	nodes := cluster(t, 3, nil)
	old := leader(t, nodes)
	acked := mustPut(t, old, "pods/a/x", "1")
	closeStore(t, old)
	var rest []*store.Store
	for _, s := range nodes {
		if s != old {
			rest = append(rest, s)
		}
	}
	lead := leader(t, rest)
	if err := lead.Barrier(context.Background()); err != nil {
		t.Fatal(err)
	}
	o, err := lead.Get(context.Background(), "pods/a/x")
	if err != nil || o.Revision != acked.Revision {
		t.Fatalf("the acknowledged write on the new leader: %+v %v", o, err)
	}
	if o = mustPut(t, lead, "pods/a/x", "2"); o.Revision != acked.Revision+1 {
		t.Fatalf("the new leader's write has revision %d", o.Revision)
	}
}

func TestLateFollowerGetsASnapshot(t *testing.T) {
	quick := func(cfg *store.Config) { cfg.TrailingEntries = 1 }
	lead := cluster(t, 1, quick)[0]
	for i := range 300 {
		mustPut(t, lead, fmt.Sprintf("pods/a/p%03d", i), "1")
	}
	if _, err := remove(lead, "pods/a/p000", store.Any); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 2<<20)
	if _, err := lead.Write(context.Background(), store.Write{Key: "secrets/a/big", Data: big, RevisionAt: -1}); err != nil {
		t.Fatal(err)
	}
	if err := lead.TakeSnapshot(); err != nil {
		t.Fatal(err)
	}
	cfg := nodeConfig(t, 1)
	quick(&cfg)
	late := open(t, cfg)
	w, err := late.Watch(context.Background(), "pods/", 1)
	if err != nil {
		t.Fatal(err)
	}
	join(t, lead, cfg.NodeID, late)
	last := mustPut(t, lead, "pods/a/p001", "2")
	waitFor(t, late, last.Revision)
	if late.Horizon() <= 1 {
		t.Fatalf("the follower has the whole history (horizon %d): it got no snapshot", late.Horizon())
	}
	_, err = w.Next(context.Background())
	wantErr(t, "watch across a snapshot", err, store.ErrCompacted)
	same := func(s *store.Store) {
		t.Helper()
		want, err1 := lead.List(context.Background(), "pods/", store.ListOptions{})
		got, err2 := s.List(context.Background(), "pods/", store.ListOptions{})
		if err1 != nil || err2 != nil || len(got.Objects) != 299 || len(want.Objects) != 299 {
			t.Fatalf("%d and %d objects: %v %v", len(want.Objects), len(got.Objects), err1, err2)
		}
		for i, o := range got.Objects {
			if o.Key != want.Objects[i].Key || string(o.Data) != string(want.Objects[i].Data) {
				t.Fatalf("%s differs", o.Key)
			}
		}
		if o, err := s.Get(context.Background(), "secrets/a/big"); err != nil || len(o.Data) != len(big) {
			t.Fatalf("the large object: %d bytes, %v", len(o.Data), err)
		}
	}
	same(late)
	cfg.Address = late.Address()
	closeStore(t, late)
	late = open(t, cfg)
	// Alone, neither of two voters could lead: either may do so now.
	lead = leader(t, []*store.Store{lead, late})
	last = mustPut(t, lead, "pods/a/p002", "2")
	waitFor(t, late, last.Revision)
	same(late)
}
