package fsm_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/store/internal/command"
	"github.com/pintle-dev/pintle/core/store/internal/fsm"
)

// TestTransactionsAreAllOrNothing compares a transaction with the guards of its writes, each
// judged by the state before.
func TestTransactionsAreAllOrNothing(t *testing.T) {
	keys := []string{"pods/a/x", "pods/a/y", "pods/a/z", "nodes//n"}
	rapid.Check(t, func(t *rapid.T) {
		s := newServer(t, 1<<20)
		defer os.RemoveAll(s.dir)
		live := map[string]uint64{}
		revision := uint64(fsm.FirstRevision)
		for i := range rapid.IntRange(1, 12).Draw(t, "transactions") {
			data := command.BeginTransaction(nil)
			var want []fsm.Outcome
			var writes []command.Write
			refused := false
			for range rapid.IntRange(0, 5).Draw(t, "writes") {
				w := command.Write{Key: rapid.SampledFrom(keys).Draw(t, "key"), RevisionAt: 0,
					Expect: rapid.SampledFrom([]int64{-1, 0, int64(live[keys[0]]), int64(live[keys[1]]), 3}).Draw(t, "expect")}
				switch rapid.IntRange(0, 3).Draw(t, "kind") {
				case 0:
					w.Delete = true
				case 1:
					w.Check = true
				default:
					w.Data = []byte("x")
				}
				at, exists := live[w.Key]
				o := fsm.Done
				switch {
				case slices.ContainsFunc(writes, func(b command.Write) bool { return b.Key == w.Key }):
					o = fsm.Repeated
				case !exists && (w.Delete || w.Expect > 0):
					o = fsm.NotFound
				case exists && w.Expect == 0:
					o = fsm.Exists
				case exists && w.Expect > 0 && uint64(w.Expect) != at:
					o = fsm.Conflict
				}
				refused = refused || o != fsm.Done
				writes, want, data = append(writes, w), append(want, o), w.Append(data)
			}
			response := s.machine.Apply([]fsm.Entry{{Index: uint64(i + 2), Data: data}})[0]
			if response.Err != nil {
				t.Fatal(response.Err)
			}
			for j, w := range writes {
				if refused {
					if want[j] == fsm.Done {
						want[j] = fsm.Withheld
					}
					continue
				}
				at := live[w.Key]
				if !w.Check {
					revision++
					at = revision
				}
				if live[w.Key] = at; w.Delete || at == 0 {
					delete(live, w.Key)
				}
				if got := response.Results[j].Revision; got != at {
					t.Fatalf("write %d got revision %d, want %d", j, got, at)
				}
			}
			for j, r := range response.Results {
				if r.Outcome != want[j] {
					t.Fatalf("write %d of %+v: outcome %d, want %d", j, writes, r.Outcome, want[j])
				}
			}
			if got := s.index.Revision(); got != revision {
				t.Fatalf("revision %d, want %d", got, revision)
			}
			for _, k := range keys {
				it := s.index.Get(k)
				if got, exists := live[k]; (it != nil) != exists || exists && it.Revision != got {
					t.Fatal(fmt.Sprintf("%s: %+v, want revision %d", k, it, got))
				}
			}
		}
		s.close()
	})
}
