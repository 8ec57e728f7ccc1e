package store

import "sync"

// Frames keeps encodings of an event that watchers share, so that each is made once.
// The zero value is ready.
type Frames struct {
	mu sync.Mutex
	m  map[string][]byte
}

// Get returns the encoding under the given name, calling encode the first time. Errors
// are not kept.
func (f *Frames) Get(name string, encode func() ([]byte, error)) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b, ok := f.m[name]; ok {
		return b, nil
	}
	b, err := encode()
	if err != nil {
		return nil, err
	}
	if f.m == nil {
		f.m = make(map[string][]byte, 1)
	}
	f.m[name] = b
	return b, nil
}
