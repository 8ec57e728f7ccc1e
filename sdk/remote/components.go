package remote

import (
	"encoding/json"
	"sync"

	"github.com/pintle-dev/pintle/crd/schema"
)

// lazyComponents parses shared schemas when they are first asked for.
type lazyComponents struct {
	raw    map[string][]byte
	mu     sync.Mutex
	parsed map[string]*schema.Schema
}

func (l *lazyComponents) get(name string) *schema.Schema {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.parsed[name]; ok {
		return s
	}
	raw, ok := l.raw[name]
	if !ok {
		return nil
	}
	s := &schema.Schema{}
	if json.Unmarshal(raw, s) != nil {
		return nil
	}
	if l.parsed == nil {
		l.parsed = map[string]*schema.Schema{}
	}
	l.parsed[name] = s
	return s
}
