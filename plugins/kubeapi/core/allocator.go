package core

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// Reasons for which a node port is not given out.
var (
	errPortTaken  = errors.New("provided port is already allocated")
	errNotInRange = errors.New("not in range")
)

// nodePorts gives out node ports. What is taken is what services say, read when it is first
// asked and again when what it knows is old; between two readings it remembers what it gave
// out. Where other servers give out ports too it reads every time: what two of them give out in
// the same moment is reported by the controller that repairs allocations.
type nodePorts struct {
	first, count int
	shared       bool

	mu       sync.Mutex
	read     time.Time
	taken    map[int]string // owner
	reserved map[int]reservation
	got      []int // given out in the present reading
	now      func() time.Time
}

// reservation is something given out: when, and to whom where that is known.
type reservation struct {
	at    time.Time
	owner string
}

const (
	// readAgain is how long a reading is good while it does not refuse anything.
	readAgain = 30 * time.Second
	// settle is how long a port counts as taken by a write whose end was not seen: it was
	// refused on its way.
	settle = time.Minute
)

func newNodePorts(first, last int) *nodePorts {
	return &nodePorts{first: first, count: last - first + 1, now: time.Now}
}

// reading calls list for what services have and f under the lock, and returns what f got. Where
// f finds something taken by an old reading, it is called again after a new one. What a failed
// f got is given back, and with dryRun also what another got.
func (a *nodePorts) reading(list func(take func(port int, owner string)) error, f func() error, dryRun bool) (got []int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() {
		if err != nil || dryRun {
			a.undo()
			got = nil
		}
	}()
	a.got = nil
	fresh := false
	if a.taken == nil || a.shared || a.now().Sub(a.read) > readAgain {
		if err := a.reread(list); err != nil {
			return nil, err
		}
		fresh = true
	}
	err = f()
	if fresh || err == nil || errors.Is(err, errNotInRange) {
		return a.got, err
	}
	a.undo()
	if err := a.reread(list); err != nil {
		return nil, err
	}
	err = f()
	return a.got, err
}

func (a *nodePorts) undo() {
	for _, port := range a.got {
		delete(a.reserved, port)
	}
	a.got = nil
}

// giveBack lets others have the ports of a write that was not done.
func (a *nodePorts) giveBack(ports []int) {
	if len(ports) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, port := range ports {
		delete(a.reserved, port)
	}
}

// keep says that ports have been written: readings find them from now on.
func (a *nodePorts) keep(ports []int, owner string) {
	if len(ports) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, port := range ports {
		delete(a.reserved, port)
		a.taken[port] = owner
	}
}

func (a *nodePorts) reread(list func(take func(port int, owner string)) error) error {
	taken := map[int]string{}
	if err := list(func(port int, owner string) { taken[port] = owner }); err != nil {
		return err
	}
	now := a.now()
	for port, r := range a.reserved {
		if now.Sub(r.at) > settle {
			delete(a.reserved, port)
		}
	}
	a.taken, a.read = taken, now
	return nil
}

// free reports whether a port is nobody's, or the owner's already; without an owner it must be
// nobody's.
func (a *nodePorts) free(port int, owner string) bool {
	if o, ok := a.taken[port]; ok && (owner == "" || o != owner) {
		return false
	}
	r, ok := a.reserved[port]
	return !ok || owner != "" && r.owner == owner
}

func (a *nodePorts) reserve(port int, owner string) {
	if a.reserved == nil {
		a.reserved = map[int]reservation{}
	}
	if _, ok := a.reserved[port]; !ok {
		a.got = append(a.got, port)
	}
	a.reserved[port] = reservation{a.now(), owner}
}

// port takes a particular node port for an owner.
func (a *nodePorts) port(n int, owner string) error {
	if n < a.first || n >= a.first+a.count {
		return errNotInRange
	}
	if !a.free(n, owner) {
		return errPortTaken
	}
	a.reserve(n, owner)
	return nil
}

// next takes any node port.
func (a *nodePorts) next(owner string) (int, error) {
	start := rand.IntN(a.count)
	for i := range a.count {
		if n := a.first + (start+i)%a.count; a.free(n, "") {
			a.reserve(n, owner)
			return n, nil
		}
	}
	return 0, errExhausted
}
