package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// followers are all nodes but who leads.
func followers(t testing.TB, nodes []*store.Store) (lead *store.Store, rest []*store.Store) {
	t.Helper()
	lead = leader(t, nodes)
	for _, s := range nodes {
		if s != lead {
			rest = append(rest, s)
		}
	}
	return lead, rest
}

func TestFollowersTakeWrites(t *testing.T) {
	nodes := cluster(t, 3, nil)
	lead, rest := followers(t, nodes)
	f := rest[0]
	created, err := put(f, "pods/a/x", "1", store.MustNotExist)
	if err != nil {
		t.Fatal(err)
	}
	if v := check(t, created.Data, created.Revision); v != "1" {
		t.Fatalf("the created object has value %q", v)
	}
	o, err := f.Get(context.Background(), "pods/a/x")
	if err != nil || o.Revision != created.Revision {
		t.Fatalf("the follower does not have what it has acknowledged: %+v, %v", o, err)
	}
	again, err := put(f, "pods/a/x", "2", store.MustNotExist)
	wantErr(t, "create of an object that exists", err, store.ErrExists)
	if again.Revision != created.Revision || check(t, again.Data, again.Revision) != "1" {
		t.Fatalf("with ErrExists came %+v", again)
	}
	_, err = put(f, "pods/a/x", "2", store.Expectation(created.Revision+100))
	wantErr(t, "guarded update", err, store.ErrConflict)
	updated, err := put(f, "pods/a/x", "2", store.Expectation(created.Revision))
	if err != nil || check(t, updated.Data, updated.Revision) != "2" {
		t.Fatalf("guarded update: %+v, %v", updated, err)
	}
	gone, err := remove(f, "pods/a/x", store.Expectation(updated.Revision))
	if err != nil || gone.Revision <= updated.Revision || check(t, gone.Data, gone.Revision) != "2" {
		t.Fatalf("deletion: %+v, %v", gone, err)
	}
	_, err = remove(f, "pods/a/x", store.Any)
	wantErr(t, "deletion of nothing", err, store.ErrNotFound)
	data, at := document("t")
	objects, err := f.Transact(context.Background(), []store.Write{
		{Key: "pods/a/t1", Data: data, RevisionAt: at}, {Key: "pods/a/t2", Data: data, RevisionAt: at},
	})
	if err != nil || len(objects) != 2 || check(t, objects[1].Data, objects[1].Revision) != "t" {
		t.Fatalf("transaction: %+v, %v", objects, err)
	}
	if err := lead.Barrier(context.Background()); err != nil {
		t.Fatal(err)
	}
	if lead.Revision() < objects[1].Revision {
		t.Fatal("the leader is behind what a follower has acknowledged")
	}
}

// What a leader has judged by its own state counts only if it still led by then: a barrier
// passes as well when others lead, and have written before it noticed.
func TestJudgementsOfAFormerLeader(t *testing.T) {
	ctx := context.Background()
	nodes := cluster(t, 3, nil)
	lead, rest := followers(t, nodes)
	at, err := lead.CatchUp(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := lead.Confirm(ctx, at); err != nil {
		t.Fatalf("a leader that leads on: %v", err)
	}
	there, err := rest[0].CatchUp(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := lead.TransferLeadershipTo(rest[0].ID()); err != nil {
		t.Fatal(err)
	}
	mustPut(t, rest[0], "pods/a/x", "written by another leader")
	if err := lead.Barrier(ctx); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "what was read before the lead was lost", lead.Confirm(ctx, at), store.ErrNotLeader)
	if err := rest[0].Confirm(ctx, there); err != nil {
		t.Errorf("a follower had asked the leader before it read: %v", err)
	}
	if at, err = lead.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	if err := lead.Confirm(ctx, at); err != nil {
		t.Errorf("what it reads as a follower: %v", err)
	}
}

// Whoever reads behind a barrier sees everything that was acknowledged anywhere before.
func TestBarrierOnFollowers(t *testing.T) {
	nodes := cluster(t, 3, nil)
	_, rest := followers(t, nodes)
	for i := range 30 {
		o := mustPut(t, nodes[i%3], "pods/a/x", fmt.Sprint(i))
		for _, f := range rest {
			if err := f.Barrier(context.Background()); err != nil {
				t.Fatal(err)
			}
			got, err := f.Get(context.Background(), "pods/a/x")
			if err != nil || got.Revision != o.Revision {
				t.Fatalf("after revision %d a follower reads %+v, %v", o.Revision, got, err)
			}
		}
	}
}

// A lone write reaches followers at once, not with Raft's next timer (50 ms and more).
func TestFollowersHearOfCommits(t *testing.T) {
	nodes := cluster(t, 3, func(cfg *store.Config) { cfg.HeartbeatTimeout = time.Second })
	lead, rest := followers(t, nodes)
	var took []time.Duration
	for i := range 21 {
		o := mustPut(t, lead, "pods/a/x", fmt.Sprint(i))
		begin := time.Now()
		for _, f := range rest {
			waitFor(t, f, o.Revision)
		}
		took = append(took, time.Since(begin))
	}
	quick := 0
	for _, d := range took {
		if d < 40*time.Millisecond {
			quick++
		}
	}
	if quick < len(took)/2 {
		t.Fatalf("followers take %v", took)
	}
}

func TestManyWritersThroughFollowers(t *testing.T) {
	nodes := cluster(t, 3, nil)
	_, rest := followers(t, nodes)
	var wg sync.WaitGroup
	for c := range 32 {
		wg.Go(func() {
			for i := range 20 {
				key := fmt.Sprintf("pods/a/c%02d", c)
				o, err := put(rest[c%2], key, fmt.Sprint(i), store.Any)
				if err != nil {
					t.Errorf("%s: %v", key, err)
					return
				}
				if check(t, o.Data, o.Revision) != fmt.Sprint(i) {
					t.Errorf("%s: %s", key, o.Data)
				}
			}
		})
	}
	wg.Wait()
}

// Nobody hears of the lead being handed over but by the time it takes.
func TestWritesGoOnWhileTheLeadIsHandedOver(t *testing.T) {
	nodes := cluster(t, 3, nil)
	mustPut(t, leader(t, nodes), "pods/a/x", "0")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, s := range nodes {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := put(s, "pods/a/x", "1", store.Any); err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	for range 5 {
		if err := leader(t, nodes).TransferLeadership(); err != nil {
			t.Log(err)
		}
	}
	cancel()
	wg.Wait()
}

// A process that dies is succeeded sooner than a heartbeat is missed.
func TestADeadLeaderIsSucceededAtOnce(t *testing.T) {
	nodes := cluster(t, 3, func(cfg *store.Config) { cfg.HeartbeatTimeout = 5 * time.Second })
	old, rest := followers(t, nodes)
	mustPut(t, rest[0], "pods/a/x", "1")
	mustPut(t, rest[1], "pods/a/x", "1")
	closeStore(t, old)
	begin := time.Now()
	mustPut(t, rest[0], "pods/a/x", "2")
	if took := time.Since(begin); took > 4*time.Second {
		t.Fatalf("a write through a follower took %s", took)
	}
}

func TestWithoutAMajority(t *testing.T) {
	nodes := cluster(t, 3, nil)
	mustPut(t, leader(t, nodes), "pods/a/x", "1")
	for _, s := range nodes {
		waitFor(t, s, 2)
	}
	closeStore(t, nodes[1])
	closeStore(t, nodes[2])
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		// The first may hit a leader that does not know yet.
		_, err := put(nodes[0], "pods/a/x", "2", store.Any)
		if errors.Is(err, store.ErrNotLeader) && !errors.Is(err, store.ErrUnknownOutcome) {
			break
		}
		if !errors.Is(err, store.ErrUnknownOutcome) {
			t.Fatalf("write without a majority: %v", err)
		}
	}
	wantErr(t, "barrier without a majority", nodes[0].Barrier(ctx), store.ErrNotLeader)
	if o, err := nodes[0].Get(ctx, "pods/a/x"); err != nil || o.Revision < 2 {
		t.Fatalf("local reads: %+v, %v", o, err)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	data, at := document("3")
	_, err := nodes[0].Write(short, store.Write{Key: "pods/a/x", Data: data, RevisionAt: at})
	if errors.Is(err, store.ErrUnknownOutcome) || err == nil {
		t.Fatalf("a write that was never sent: %v", err)
	}
}

func TestARemovedServerSaysSo(t *testing.T) {
	nodes := cluster(t, 3, nil)
	lead, rest := followers(t, nodes)
	gone := rest[1]
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := lead.RemoveServer(ctx, gone.ID()); err != nil {
		t.Fatal(err)
	}
	o := mustPut(t, rest[0], "pods/a/x", "1")
	if o.Revision == 0 || len(lead.Peers()) != 2 {
		t.Fatalf("after the removal: %+v, %+v", o, lead.Peers())
	}
	_, err := put(gone, "pods/a/x", "2", store.Any)
	if err == nil {
		t.Fatal("a removed server took a write")
	}
	if err := gone.Barrier(ctx); err == nil {
		t.Fatal("a removed server says that it is up to date")
	}
}

func TestALearnerBecomesAVoter(t *testing.T) {
	lead := cluster(t, 1, nil)[0]
	cfg := nodeConfig(t, 1)
	learner := open(t, cfg)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := lead.AddLearner(ctx, cfg.NodeID, learner.Address()); err != nil {
		t.Fatal(err)
	}
	o := mustPut(t, lead, "pods/a/x", "1")
	waitFor(t, learner, o.Revision)
	if o, err := put(learner, "pods/a/y", "1", store.Any); err != nil || o.Revision == 0 {
		t.Fatalf("write through a learner: %v", err)
	}
	if peers := lead.Peers(); len(peers) != 2 || peers[1].Voter {
		t.Fatalf("peers: %+v", peers)
	}
	if err := lead.AddVoter(ctx, cfg.NodeID, learner.Address()); err != nil {
		t.Fatal(err)
	}
	if err := lead.TransferLeadershipTo(cfg.NodeID); err != nil {
		t.Fatal(err)
	}
	if leader(t, []*store.Store{learner}) != learner {
		t.Fatal("the lead was not handed over")
	}
}

func TestServersAskEachOther(t *testing.T) {
	nodes := cluster(t, 3, func(cfg *store.Config) {
		cfg.Asked = func(_ context.Context, _ string, q []byte) ([]byte, error) { return append(q, '!'), nil }
	})
	lead, rest := followers(t, nodes)
	for what, address := range map[string]string{"the leader": "", "a follower": rest[1].Address(), "itself": lead.Address()} {
		a, err := rest[0].Ask(context.Background(), address, []byte("hello"))
		if err != nil || string(a) != "hello!" {
			t.Errorf("%s: %q, %v", what, a, err)
		}
	}
}

// A lost server is replaced by one at its address: what the leader still wants to tell the
// old one must not reach the new.
func TestAReplacementAtTheSameAddress(t *testing.T) {
	nodes := cluster(t, 3, func(cfg *store.Config) { cfg.TrailingEntries = 64 })
	lead, rest := followers(t, nodes)
	lost, other := rest[0], rest[1]
	for i := range 100 {
		mustPut(t, lead, fmt.Sprintf("pods/a/p%03d", i), "1")
	}
	address := lost.Address()
	closeStore(t, lost)
	if err := lead.TakeSnapshot(); err != nil {
		t.Fatal(err)
	}
	mustPut(t, lead, "pods/a/p001", "2")
	cfg := nodeConfig(t, 9)
	cfg.Address = address
	fresh := open(t, cfg)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := lead.RemoveServer(ctx, lost.ID()); err != nil {
		t.Fatal(err)
	}
	if err := lead.AddLearner(ctx, fresh.ID(), address); err != nil {
		t.Fatal(err)
	}
	if err := lead.AddVoter(ctx, fresh.ID(), address); err != nil {
		t.Fatal(err)
	}
	closeStore(t, other)
	// Without the replacement there would be no majority.
	o := mustPut(t, lead, "pods/a/p002", "2")
	waitFor(t, fresh, o.Revision)
}
