package host

import (
	"reflect"
	"sync"
)

// plan says which entry of a plugin is to run: the one that is wanted, or, where that was
// found not to work, the last one that did.
type plan struct {
	mu     sync.Mutex
	wanted entry
	// good is the last entry that has proven itself, nil where none has.
	good *entry
	// rejected is the serial of the wanted entry that did not work, 0 where it did or has
	// not been tried.
	rejected int64
	// onTrial is what ran when the wanted entry was rejected, where that had not proven itself
	// yet.
	onTrial *entry
	removed bool
	// round counts the restarts that were asked for.
	round   int64
	changed chan struct{} // closed at each change
}

// entry is one state of a plugin's entry in the catalogue.
type entry struct {
	Spec
	// serial counts the entries of a plugin.
	serial int64
	// round is how many restarts had been asked for when it was to be run.
	round int64
	// held is what its source turned out to hold, nil where that is not known: what is started
	// again is the same, though its tag may have moved, and what is gone back to what it was.
	held *Artifact
}

// content names what an entry's source held.
func (e *entry) content() string {
	switch {
	case e.held == nil:
		return ""
	case e.held.Digest != "":
		return e.held.Digest
	default:
		return e.held.SHA256
	}
}

func newPlan(s Spec) *plan {
	return &plan{wanted: entry{Spec: s, serial: 1}, changed: make(chan struct{})}
}

// want makes s the wanted entry, and reports whether it is another than before.
func (p *plan) want(s Spec) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if same(&p.wanted.Spec, &s) {
		return false
	}
	next := entry{Spec: s, serial: p.wanted.serial + 1, round: p.round}
	if alike(&p.wanted.Spec, &s) {
		next.held = p.wanted.held
	}
	if p.good != nil && alike(&p.good.Spec, &s) { // with what changes without another process
		next.held = p.good.held
		p.good = &next
	}
	p.wanted = next
	p.rejected = 0
	p.notify()
	return true
}

// again asks for another instance of what is wanted, also where that was found not to work
// before: it is as good as another entry, which finds what its source holds now.
func (p *plan) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.round++
	p.wanted = entry{Spec: p.wanted.Spec, serial: p.wanted.serial + 1, round: p.round}
	p.rejected = 0
	p.notify()
}

// hold records what the source of an entry held.
func (p *plan) hold(e entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, known := range []*entry{&p.wanted, p.good, p.onTrial} {
		if known != nil && known.serial == e.serial {
			known.held = e.held
		}
	}
}

// refuse records that the wanted entry e can't take over from running, which goes on.
func (p *plan) refuse(e, running entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted.serial != e.serial {
		return
	}
	p.rejected, p.onTrial = e.serial, nil
	if p.good == nil || p.good.serial != running.serial {
		p.onTrial = &running
	}
}

// remove makes the plugin end.
func (p *plan) remove() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removed = true
	p.notify()
}

func (p *plan) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// next is the entry to run, and a channel that is closed when that may have changed.
func (p *plan) next() (e entry, removed bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e = p.wanted
	if p.rejected == p.wanted.serial {
		switch {
		case p.onTrial != nil:
			e = *p.onTrial
		case p.good != nil:
			e = *p.good
		}
		e.Disabled, e.round = p.wanted.Disabled, p.round
	}
	return e, p.removed, p.changed
}

// current is the wanted entry.
func (p *plan) current() entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wanted
}

// isWanted reports whether nothing else than e, or what one process can stand for with it, has
// been asked for since.
func (p *plan) isWanted(e entry) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wanted.serial == e.serial ||
		p.rejected != p.wanted.serial && p.wanted.round == e.round && alike(&p.wanted.Spec, &e.Spec)
}

// prove records that an entry works.
func (p *plan) prove(e entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.good == nil || e.serial > p.good.serial {
		p.good = &e
	}
	if p.onTrial != nil && p.onTrial.serial <= p.good.serial {
		p.onTrial = nil
	}
}

// proven reports whether e, or what differs from it by nothing that a process would
// notice, has proven itself, and whether anything has.
func (p *plan) proven(e entry) (it, anything bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.good == nil {
		return false, false
	}
	return p.good.serial == e.serial || p.good.content() == e.content() && alike(&p.good.Spec, &e.Spec), true
}

// reject records that an entry does not work. It reports whether there is another to go
// back to.
func (p *plan) reject(e entry) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.good == nil || p.good.serial == e.serial {
		return false
	}
	if p.wanted.serial == e.serial {
		p.rejected = e.serial
	}
	if p.onTrial != nil && p.onTrial.serial == e.serial {
		p.onTrial = nil
	}
	return true
}

// restore takes over what an earlier host has found out: that good worked, and that the
// wanted entry did not.
func (p *plan) restore(good Spec, held *Artifact) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.good, p.rejected = &entry{Spec: good, held: held}, p.wanted.serial
	p.notify()
}

// isRejected reports whether the wanted entry was found not to work.
func (p *plan) isRejected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rejected == p.wanted.serial
}

// same reports whether two entries say the same.
func same(a, b *Spec) bool {
	x, y := *a, *b
	x.Builtin, y.Builtin, x.Dial, y.Dial = nil, nil, nil, nil // values of the host's own
	x.Wish, y.Wish = nil, nil                                 // says the same in other words
	x.Origin.hidden, y.Origin.hidden = nil, nil               // parts of the settings
	x.Origin.plain, y.Origin.plain = nil, nil
	return reflect.DeepEqual(x, y)
}

// alike reports whether one process can stand for both entries.
func alike(a, b *Spec) bool {
	x, y := *a, *b
	for _, s := range []*Spec{&x, &y} {
		if !s.FirstParty() {
			s.Uses = nil // usesAsNow tells
		}
		s.Grant, s.Permissions, s.Disabled, s.Replacement = false, nil, false, Replacement{}
		s.Source.AllowUnsigned, s.Origin.Version = false, ""
	}
	return same(&x, &y)
}
