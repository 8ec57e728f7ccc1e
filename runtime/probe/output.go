package probe

import "sync"

// Output keeps the beginning of what a command writes. Both of its streams may write to
// one Output at once. Max is its size in bytes, 10 KiB where zero.
type Output struct {
	Max int

	mu  sync.Mutex
	buf []byte
}

// Write keeps what there is room for, and takes it all.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	limit := o.Max
	if limit == 0 {
		limit = maxOutput
	}
	if room := limit - len(o.buf); room > 0 {
		o.buf = append(o.buf, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// String returns what was kept.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.buf)
}
