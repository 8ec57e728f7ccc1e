package fit

import (
	"maps"

	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

// PointsPerWeight is what one hundredth of the best score of one criterion with weight 1 counts
// for, so that others' scores of 0 to 100 can be added to those of this package.
const PointsPerWeight = full / 100

// Candidate is a node that fits a pod.
type Candidate struct {
	// Slot is the node's place in the snapshot.
	Slot int
	// Score is the better the higher.
	Score int64
}

// Candidates returns all nodes that fit a pod, by slot, for pods on which others have a say as
// well. It fails as Choose does.
func (c *Chooser) Candidates(p *model.Pod) ([]Candidate, error) {
	if err := c.check(p); err != nil {
		return nil, err
	}
	if c.alone(p) {
		return c.classCandidates(p)
	}
	s, err := c.search(p)
	if err != nil {
		return nil, err
	}
	why := &report{reasons: map[string]int{}}
	var out []Candidate
	for slot, n := range c.snapshot.Slots() {
		if n != nil && n.Node != nil && s.fits(n, why) {
			out = append(out, Candidate{Slot: slot, Score: s.score(n)})
		}
	}
	if len(out) == 0 {
		return nil, &Error{Nodes: c.snapshot.Nodes(), Cause: why.cause, Reasons: why.reasons}
	}
	return out, nil
}

func (c *Chooser) classCandidates(p *model.Pod) ([]Candidate, error) {
	k, err := c.class(p)
	if err != nil {
		return nil, err
	}
	k.sync(c.snapshot)
	if len(k.heap) == 0 {
		return nil, c.classFailure(k)
	}
	out := make([]Candidate, 0, len(k.heap))
	for slot, place := range k.place {
		if place >= 0 {
			out = append(out, Candidate{Slot: slot, Score: k.score[slot]})
		}
	}
	return out, nil
}

// Explain says why a pod fits nowhere of which all candidates were refused by others, who gave
// refused: numbers of nodes by reason.
func (c *Chooser) Explain(p *model.Pod, refused map[string]int) error {
	s, err := c.search(p)
	if err != nil {
		return err
	}
	why := &report{reasons: maps.Clone(refused), cause: Extension}
	for _, n := range c.snapshot.Slots() {
		if n != nil && n.Node != nil {
			s.fits(n, why)
		}
	}
	return &Error{Nodes: c.snapshot.Nodes(), Cause: why.cause, Reasons: why.reasons}
}
