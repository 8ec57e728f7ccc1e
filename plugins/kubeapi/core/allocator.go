package core

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Reasons for which an address or a port is not given out.
var (
	errTaken      = errors.New("provided IP is already allocated")
	errPortTaken  = errors.New("provided port is already allocated")
	errExhausted  = errors.New("range is full")
	errNotInRange = errors.New("not in range")
)

// allocator gives out addresses and ports of services. What is taken is what services
// say, read when the allocator is first used and again when what it knows is old; between
// two readings it remembers what it gave out. A write that fails after it got something
// gives it back by being absent from the next reading.
type allocator struct {
	ranges       []netip.Prefix
	first, count int // node ports

	mu       sync.Mutex
	read     time.Time
	taken    map[any]string // netip.Addr or int → owner
	reserved map[any]reservation
	got      []any // given out in the present reading
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
	// settle is how long something given out counts as taken though no service has it.
	settle = time.Minute
)

func newAllocator(ranges []netip.Prefix, first, last int) *allocator {
	return &allocator{ranges: ranges, first: first, count: last - first + 1, now: time.Now}
}

// reading calls list for what services have and runs f under the lock. Where f finds
// something taken by an old reading, it is called again after a new one. What a failed f
// got is given back, and with dryRun also what another got.
func (a *allocator) reading(list func(take func(key any, owner string)) error, f func() error, dryRun bool) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() {
		if err != nil || dryRun {
			a.giveBack()
		}
	}()
	a.got = nil
	fresh := false
	if a.taken == nil || a.now().Sub(a.read) > readAgain {
		if err := a.reread(list); err != nil {
			return err
		}
		fresh = true
	}
	err = f()
	if fresh || err == nil || errors.Is(err, errNotInRange) {
		return err
	}
	a.giveBack()
	if err := a.reread(list); err != nil {
		return err
	}
	return f()
}

func (a *allocator) giveBack() {
	for _, key := range a.got {
		delete(a.reserved, key)
	}
	a.got = nil
}

func (a *allocator) reread(list func(take func(key any, owner string)) error) error {
	taken := map[any]string{}
	if err := list(func(key any, owner string) { taken[key] = owner }); err != nil {
		return err
	}
	now := a.now()
	for key, r := range a.reserved {
		if now.Sub(r.at) > settle {
			delete(a.reserved, key)
		}
	}
	a.taken, a.read = taken, now
	return nil
}

// free reports whether something is nobody's, or the owner's already; without an owner it
// must be nobody's.
func (a *allocator) free(key any, owner string) bool {
	if o, ok := a.taken[key]; ok && (owner == "" || o != owner) {
		return false
	}
	r, ok := a.reserved[key]
	return !ok || owner != "" && r.owner == owner
}

func (a *allocator) reserve(key any, owner string) {
	if a.reserved == nil {
		a.reserved = map[any]reservation{}
	}
	if _, ok := a.reserved[key]; !ok {
		a.got = append(a.got, key)
	}
	a.reserved[key] = reservation{a.now(), owner}
}

// address takes a particular address for an owner.
func (a *allocator) address(ip netip.Addr, owner string) error {
	if !a.inRange(ip) {
		return errNotInRange
	}
	if !a.free(ip, owner) {
		return errTaken
	}
	a.reserve(ip, owner)
	return nil
}

func (a *allocator) inRange(ip netip.Addr) bool {
	for _, p := range a.ranges {
		if p.Contains(ip) && ip != p.Masked().Addr() && (ip.Is6() || ip != last(p)) {
			return true
		}
	}
	return false
}

// nextAddress takes any address of a range, from a random place on, so that addresses
// are not used again soon. The first addresses of a range are left to those who ask for
// them by name, as long as there are others.
func (a *allocator) nextAddress(p netip.Prefix, owner string) (netip.Addr, error) {
	size := 1 << min(p.Addr().BitLen()-p.Bits(), 16)
	static := min(max(size/16, 16), 256)
	if size <= 2*static {
		static = 1
	}
	base := p.Masked().Addr()
	start := static + rand.IntN(max(size-static, 1))
	for i := range size {
		ip := offset(base, 1+(start-1+i)%(size-1))
		if a.inRange(ip) && a.free(ip, "") {
			a.reserve(ip, owner)
			return ip, nil
		}
	}
	return netip.Addr{}, errExhausted
}

// port takes a particular node port for an owner.
func (a *allocator) port(n int, owner string) error {
	if n < a.first || n >= a.first+a.count {
		return errNotInRange
	}
	if !a.free(n, owner) {
		return errPortTaken
	}
	a.reserve(n, owner)
	return nil
}

// nextPort takes any node port.
func (a *allocator) nextPort(owner string) (int, error) {
	start := rand.IntN(a.count)
	for i := range a.count {
		if n := a.first + (start+i)%a.count; a.free(n, "") {
			a.reserve(n, owner)
			return n, nil
		}
	}
	return 0, errExhausted
}

func offset(base netip.Addr, n int) netip.Addr {
	b := base.AsSlice()
	for i := len(b) - 1; i >= 0 && n > 0; i-- {
		n += int(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	ip, _ := netip.AddrFromSlice(b)
	return ip
}

// last returns the last address of an IPv4 range, where broadcasts go.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	ip, _ := netip.AddrFromSlice(b)
	return ip
}
