package apiserver

import (
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kindTable holds the hooks of types and what is derived from definitions.
type kindTable struct {
	mu    sync.RWMutex
	hooks map[schema.GroupResource]any
}

func (t *kindTable) setHooks(gr schema.GroupResource, h any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hooks == nil {
		t.hooks = map[schema.GroupResource]any{}
	}
	t.hooks[gr] = h
}
