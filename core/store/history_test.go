package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// TestHistoryIsBounded: what one call returns does not grow with the objects.
func TestHistoryIsBounded(t *testing.T) {
	s := open(t, testConfig(t.TempDir()))
	const writes = 12
	big := strings.Repeat("x", 2<<20)
	for i := range writes {
		mustPut(t, s, "pods/a/x", fmt.Sprint(i, big))
	}
	h, err := s.History(context.Background(), "pods/a/x", 0)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, ev := range h.Changes {
		size += len(ev.Data) + len(ev.Prev)
	}
	last := h.Changes[len(h.Changes)-1]
	if !h.More || size < 16<<20 || size > 21<<20 || last.Revision != s.Revision() || h.First != nil {
		t.Fatalf("%d changes of %d bytes, more: %t", len(h.Changes), size, h.More)
	}
}

// TestHistoryReachesToTheHorizon: what is behind it is gone, but for the state there.
func TestHistoryReachesToTheHorizon(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.HistoryWindow = 100 * time.Millisecond
	s := open(t, cfg)
	mustPut(t, s, "pods/a/x", "old")
	kept := mustPut(t, s, "pods/a/x", "kept")
	deadline := time.Now().Add(20 * time.Second)
	for i := 0; s.Horizon() <= kept.Revision; i++ {
		if time.Now().After(deadline) {
			t.Fatalf("the horizon stays at %d", s.Horizon())
		}
		mustPut(t, s, "pods/z/z", fmt.Sprint(i))
	}
	if _, err := remove(s, "pods/a/x", store.Any); err != nil {
		t.Fatal(err)
	}
	h, err := s.History(context.Background(), "pods/a/x", 10)
	if err != nil {
		t.Fatal(err)
	}
	if h.First == nil || h.First.Revision != kept.Revision || check(t, h.First.Data, h.First.Revision) != "kept" ||
		len(h.Changes) != 1 || h.Changes[0].Type != store.Deleted || check(t, h.Changes[0].Data, h.Changes[0].Revision) != "kept" || h.More {
		t.Fatalf("%+v", h)
	}
	_, err = s.History(context.Background(), "pods", 0)
	if err == nil {
		t.Error("the history of no prefix")
	}
}
