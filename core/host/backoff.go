package host

import "time"

// Backoff says how long a plugin that died waits for its next start. The first restart
// is immediate; the second waits Initial, and each further one twice as long, up to Max.
type Backoff struct {
	// Initial delay. 100 ms where zero.
	Initial time.Duration
	// Max delay. 1 minute where zero.
	Max time.Duration
	// Reset: a plugin that has been healthy for so long starts over with an immediate
	// restart. 10 s where zero.
	Reset time.Duration
	// Open is the number of failures in a row after which the circuit is open: the plugin
	// is reported as down for good reason, and each start is a trial. 5 where zero.
	Open int
}

func (b *Backoff) complete() {
	if b.Initial <= 0 {
		b.Initial = 100 * time.Millisecond
	}
	if b.Max <= 0 {
		b.Max = time.Minute
	}
	if b.Reset <= 0 {
		b.Reset = 10 * time.Second
	}
	if b.Open <= 0 {
		b.Open = 5
	}
}

// delay before the start that follows the given number of failures in a row.
func (b *Backoff) delay(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	d := b.Initial
	for i := 2; i < failures && d < b.Max; i++ {
		d *= 2
	}
	return min(d, b.Max)
}

// Circuit is the state of a plugin's circuit breaker.
type Circuit string

// The states of a circuit.
const (
	// CircuitClosed: starts are expected to succeed.
	CircuitClosed Circuit = "Closed"
	// CircuitOpen: too many failures in a row; the plugin waits.
	CircuitOpen Circuit = "Open"
	// CircuitHalfOpen: a trial start after too many failures.
	CircuitHalfOpen Circuit = "HalfOpen"
)

func (b *Backoff) circuit(failures int, waiting bool) Circuit {
	switch {
	case failures < b.Open:
		return CircuitClosed
	case waiting:
		return CircuitOpen
	default:
		return CircuitHalfOpen
	}
}
