package fsm

import (
	"github.com/pintle-dev/pintle/core/store/internal/command"
	"github.com/pintle-dev/pintle/core/store/internal/engine"
)

// applyTransaction applies all writes of an entry, or none: all guards are checked against
// the state before the first one.
func (m *Machine) applyTransaction(cmd *command.Entry, next *engine.Meta) ([]Result, error) {
	var (
		writes  []command.Write
		results []Result
		refused bool
		seen    = map[string]struct{}{}
	)
	for cmd.More() {
		var w command.Write
		if err := cmd.Next(&w); err != nil {
			return nil, err
		}
		r := m.judge(&w)
		if _, twice := seen[w.Key]; twice {
			r = Result{Outcome: Repeated}
		}
		seen[w.Key] = struct{}{}
		refused = refused || r.Outcome != Done
		writes, results = append(writes, w), append(results, r)
	}
	if refused {
		for i := range results {
			if results[i].Outcome == Done {
				results[i] = Result{Outcome: Withheld}
			}
		}
		return results, nil
	}
	before, first := len(m.pending), next.Revision+1
	for i := range writes {
		if writes[i].Check {
			continue
		}
		var err error
		if results[i], err = m.applyWrite(&writes[i], next); err != nil {
			return nil, err
		}
	}
	if n := len(m.pending); n > before+1 {
		m.pending[n-1].First = first
	}
	return results, nil
}

// judge says whether a write's guard holds now; of one that does, Revision is the object's.
func (m *Machine) judge(w *command.Write) Result {
	old := m.find(w.Key)
	if r, rejected := guard(w, old); rejected {
		return r
	}
	if old == nil {
		return Result{}
	}
	return Result{Revision: old.Revision}
}
