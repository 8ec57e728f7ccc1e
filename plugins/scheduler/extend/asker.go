package extend

import (
	"context"
	"log/slog"
	"sync"

	"github.com/pintle-dev/pintle/sdk/remote"
)

// Ask is what is asked about one pod.
type Ask struct {
	// Raw is the pod's JSON.
	Raw        []byte
	Extensions []*Extension
	// Slots of the nodes that are asked about, ascending.
	Slots []uint32

	// Refused has the reason for each of the nodes that was refused, and Points what the
	// scores of the others come to, weighted.
	Refused []string
	Points  []int64
	// Failure is what can't be passed over.
	Failure *Failure
}

// Asker asks extensions about pods, one batch after the other. It is not safe for concurrent
// use.
type Asker struct {
	log        *slog.Logger
	evaluators map[*remote.Scheduling]*remote.Evaluator
}

// NewAsker returns an asker.
func NewAsker(log *slog.Logger) *Asker {
	return &Asker{log: log, evaluators: map[*remote.Scheduling]*remote.Evaluator{}}
}

// Keep ends what was begun with plugins that are no longer there.
func (a *Asker) Keep(s *Set) {
	here := map[*remote.Scheduling]bool{}
	if list := s.list.Load(); list != nil {
		for _, e := range *list {
			here[e.Part] = true
		}
	}
	for part, ev := range a.evaluators {
		if !here[part] {
			ev.Close()
			delete(a.evaluators, part)
		}
	}
}

// Close ends what was begun.
func (a *Asker) Close() {
	for part, ev := range a.evaluators {
		ev.Close()
		delete(a.evaluators, part)
	}
}

// Ask puts all questions, to all extensions at the same time, and fills in the answers.
func (a *Asker) Ask(ctx context.Context, view remote.View, asks []*Ask) {
	type batch struct {
		asks []*Ask
		out  []remote.Evaluation
		err  error
	}
	batches := map[*Extension]*batch{}
	var order []*Extension
	for _, ask := range asks {
		ask.Refused, ask.Points = make([]string, len(ask.Slots)), make([]int64, len(ask.Slots))
		for _, e := range ask.Extensions {
			if e.Part == nil {
				ask.fail(&Failure{Plugin: e.Name, Away: true})
				continue
			}
			if !e.evaluates() {
				continue
			}
			if batches[e] == nil {
				batches[e] = &batch{}
				order = append(order, e)
			}
			batches[e].asks = append(batches[e].asks, ask)
		}
	}
	var all sync.WaitGroup
	for _, e := range order {
		b, ev := batches[e], a.evaluator(e)
		all.Go(func() {
			questions := make([]remote.Question, len(b.asks))
			for i, ask := range b.asks {
				questions[i] = remote.Question{Pod: ask.Raw, Nodes: ask.Slots}
			}
			v := view
			if !e.Usage() {
				v.Usage = nil
			}
			b.out, b.err = ev.Evaluate(ctx, e.Timeout, v, questions)
		})
	}
	all.Wait()
	for _, e := range order {
		b := batches[e]
		for i, ask := range b.asks {
			err := b.err
			if err == nil {
				err = b.out[i].Err
			}
			switch {
			case err == nil:
				ask.add(e, b.out[i])
			case e.Policy == Fail:
				ask.fail(&Failure{Plugin: e.Name, Err: err})
			default:
				a.log.Warn("a plugin with a part in scheduling is passed over", "plugin", e.Name, "error", err)
			}
		}
	}
}

func (a *Asker) evaluator(e *Extension) *remote.Evaluator {
	ev := a.evaluators[e.Part]
	if ev == nil {
		ev = e.Part.Evaluator()
		a.evaluators[e.Part] = ev
	}
	return ev
}

func (a *Ask) fail(f *Failure) {
	if a.Failure == nil {
		a.Failure = f
	}
}

// add takes one extension's answer. The first that refuses a node gives the reason.
func (a *Ask) add(e *Extension, answer remote.Evaluation) {
	for i, reason := range answer.Refused {
		if a.Refused[i] == "" {
			a.Refused[i] = reason
		}
	}
	for i, score := range answer.Scores {
		a.Points[i] += e.Weight * score
	}
}
