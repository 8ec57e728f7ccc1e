package store

import "time"

// historyLimits bound the history that is kept.
type historyLimits struct {
	window    time.Duration
	revisions uint64
	// bytes as they were written to the disk.
	bytes uint64
}

// historyKeeper knows which revision was when, and how much had been written then. The clock
// stays with the leader: the state machine is told revisions. Only differences of times count,
// which Go takes from a clock that does not jump.
type historyKeeper struct{ samples []sample }

type sample struct {
	at       time.Time
	revision uint64
	written  uint64
}

// Samples are taken so often that the history is at most this part longer than it should be.
const sampleParts = 20

// horizon notes what the newest revision is now and how much has been written, and returns the
// newest revision that is older than the window, or further back than the other limits allow.
func (k *historyKeeper) horizon(now sample, limits historyLimits) uint64 {
	if n := len(k.samples); n == 0 || (now.revision > k.samples[n-1].revision &&
		(now.at.Sub(k.samples[n-1].at) >= limits.window/sampleParts || now.written-k.samples[n-1].written >= limits.bytes/sampleParts)) {
		k.samples = append(k.samples, now)
	}
	var target uint64
	for len(k.samples) > 0 && (now.at.Sub(k.samples[0].at) >= limits.window || now.written-k.samples[0].written > limits.bytes) {
		target = k.samples[0].revision
		k.samples = k.samples[1:]
	}
	if now.revision > limits.revisions {
		target = max(target, now.revision-limits.revisions)
	}
	return target
}
