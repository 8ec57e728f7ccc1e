package plugintest

import (
	"context"
	"reflect"
	"testing"
)

// opened holds what a plugin offers once it is opened, the services of a cloud or of a storage,
// to what is promised of its opening: one at a time, as long as its context, and the same to
// who asks again.
func opened[S any](t *testing.T, open func(context.Context) (S, <-chan struct{}, error), ask func(context.Context) (S, error), explore func(*testing.T, S)) {
	t.Helper()
	if s, err := ask(t.Context()); err == nil {
		t.Errorf("it has services before it was opened: %+v", s)
	}
	life, end := context.WithCancel(t.Context())
	s, gone, err := open(life)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	if _, _, err := open(life); err == nil {
		t.Error("it can be opened twice at the same time")
	}
	again, err := ask(t.Context())
	if err != nil || !reflect.DeepEqual(again, s) {
		t.Errorf("asked again it offers %+v, %v; Open said %+v", again, err, s)
	}
	explore(t, s)
	end()
	<-gone
	soon(t, "open again", func() error {
		_, _, err := open(t.Context())
		return err
	})
}
