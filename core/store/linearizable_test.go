package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pintle-dev/pintle/core/store"
)

// An operation on one object, as the checker sees it.
type (
	registerIn struct {
		key    string
		kind   string // read, put or swap
		value  string
		expect uint64
	}
	registerOut struct {
		revision uint64
		value    string
		conflict bool
		unknown  bool
	}
	registerState struct {
		revision uint64
		value    string
	}
)

// register is one object with guarded writes. A write of unknown outcome may have
// happened, at a revision that nobody was told, or not.
var register = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			k := op.Input.(registerIn).key
			byKey[k] = append(byKey[k], op)
		}
		var out [][]porcupine.Operation
		for _, ops := range byKey {
			out = append(out, ops)
		}
		return out
	},
	Init: func() []any { return []any{registerState{}} },
	Step: func(state, input, output any) []any {
		s, in, out := state.(registerState), input.(registerIn), output.(registerOut)
		if in.kind == "read" {
			if out.value == s.value && (s.revision == 0 || s.revision == out.revision) {
				return []any{registerState{out.revision, out.value}}
			}
			return nil
		}
		matches := in.kind == "put" || s.revision == 0 || s.revision == in.expect
		switch {
		case out.unknown:
			return []any{s, registerState{0, in.value}}
		case out.conflict:
			if in.kind == "swap" && (s.revision == 0 || s.revision != in.expect) {
				return []any{s}
			}
			return nil
		case !matches || (s.revision != 0 && out.revision <= s.revision):
			return nil
		}
		return []any{registerState{out.revision, in.value}}
	},
	Equal: func(a, b any) bool { return a == b },
}

// TestOperationsAreLinearizable lets clients write and read through whoever leads while
// the lead changes hands.
func TestOperationsAreLinearizable(t *testing.T) {
	nodes := cluster(t, 3, nil)
	keys := []string{"pods/a/x", "pods/a/y"}
	for _, k := range keys {
		mustPut(t, leader(t, nodes), k, "initial")
	}
	var (
		mu      sync.Mutex
		history []porcupine.Operation
		wg      sync.WaitGroup
		begin   = time.Now()
	)
	for client := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(client), 1))
			var seen uint64
			for i := range 60 {
				if client == 0 && i%15 == 14 {
					if err := leader(t, nodes).TransferLeadership(); err != nil {
						t.Log("transfer:", err)
					}
				}
				in := registerIn{key: keys[r.IntN(2)], value: fmt.Sprintf("%d-%d", client, i), expect: seen}
				in.kind = []string{"read", "put", "swap"}[r.IntN(3)]
				if in.kind == "swap" && seen == 0 {
					in.kind = "read"
				}
				var (
					call int64
					out  registerOut
				)
				for ok := false; !ok; { // Until somebody who leads has answered.
					call = time.Since(begin).Nanoseconds()
					out, ok = operate(t, nodes[r.IntN(len(nodes))], in)
					if t.Failed() || time.Since(begin) > time.Minute {
						return
					}
				}
				if !out.unknown {
					seen = out.revision
				}
				end := time.Since(begin).Nanoseconds()
				if out.unknown {
					end = time.Hour.Nanoseconds() // It may still happen.
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: end})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	first := make([]porcupine.Operation, 0, len(keys))
	for _, k := range keys {
		first = append(first, porcupine.Operation{ClientId: 99, Input: registerIn{key: k, kind: "put", value: "initial"},
			Call: -2, Output: registerOut{unknown: true}, Return: -1})
	}
	if len(history) != 6*60 {
		t.Fatalf("only %d operations happened", len(history))
	}
	if got := porcupine.CheckOperationsTimeout(register.ToModel(), append(first, history...), 30*time.Second); got != porcupine.Ok {
		t.Fatalf("the history of %d operations is %s", len(history), got)
	}
}

func operate(t *testing.T, s *store.Store, in registerIn) (out registerOut, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var (
		o   store.Object
		err error
	)
	switch in.kind {
	case "read":
		if err = s.Barrier(ctx); err == nil {
			o, err = s.Get(ctx, store.Key(in.key))
		}
	case "put":
		o, err = put(s, in.key, in.value, store.Any)
	case "swap":
		o, err = put(s, in.key, in.value, store.Expectation(in.expect))
	}
	switch {
	case err == nil:
		return registerOut{revision: o.Revision, value: check(t, o.Data, o.Revision)}, true
	case errors.Is(err, store.ErrConflict):
		return registerOut{conflict: true, revision: o.Revision}, true
	case errors.Is(err, store.ErrUnknownOutcome) && in.kind != "read":
		return registerOut{unknown: true}, true
	case errors.Is(err, store.ErrNotLeader), in.kind == "read":
		return out, false
	}
	t.Errorf("%+v: %v", in, err)
	return out, false
}
