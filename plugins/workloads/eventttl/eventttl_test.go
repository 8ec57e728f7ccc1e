package eventttl_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/eventttl"
)

// server is events with revisions, as a store would count them.
type server struct {
	metadata.Interface
	metadata.ResourceInterface
	t        *testing.T
	revision int
	events   map[string]int // name to revision
	lists    int
	mu       sync.Mutex
}

// Resource satisfies metadata.Interface.
func (s *server) Resource(schema.GroupVersionResource) metadata.Getter { return getter{s} }

type getter struct{ *server }

// Namespace satisfies metadata.Getter.
func (g getter) Namespace(string) metadata.ResourceInterface { return g }

func (s *server) write(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	s.events[name] = s.revision
}

// List satisfies metadata.ResourceInterface.
func (g getter) List(_ context.Context, options metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lists++
	out := &metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: fmt.Sprint(g.revision)}}
	for _, name := range slices.Sorted(maps.Keys(g.events)) {
		if name <= options.Continue {
			continue
		}
		if len(out.Items) == int(options.Limit) {
			out.Continue = out.Items[len(out.Items)-1].Name
			break
		}
		out.Items = append(out.Items, metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "default", UID: types.UID(name), ResourceVersion: fmt.Sprint(g.events[name]),
		}})
	}
	return out, nil
}

// Delete satisfies metadata.ResourceInterface.
func (g getter) Delete(_ context.Context, name string, options metav1.DeleteOptions, _ ...string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := options.Preconditions; p == nil || *p.ResourceVersion != fmt.Sprint(g.events[name]) {
		g.t.Errorf("deletion of %s without the precondition that it is as it was read", name)
	}
	g.revision++
	delete(g.events, name)
	return nil
}

// now returns the events there are.
func (s *server) now() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.events)
}

func (s *server) listed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists
}

// restore sets the revision back.
func (s *server) restore(revision int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision = revision
}

func TestEventsLiveForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{t: t, revision: 1000, events: map[string]int{}}
		s.write("from before")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := eventttl.New(control.Kit{Log: slog.New(slog.DiscardHandler)}, s, time.Hour)
		done := make(chan struct{})
		go func() { defer close(done); c.Run(ctx) }()
		synctest.Wait()
		if s.listed() != 1 {
			t.Errorf("%d lists at the start", s.listed())
		}
		time.Sleep(30*time.Minute + time.Second)
		s.write("young")
		s.write("written again")
		for i := range 1200 {
			s.write(fmt.Sprintf("many-%04d", i))
		}
		time.Sleep(35 * time.Minute) // 65
		synctest.Wait()
		if s.now()["from before"] != 0 || s.now()["young"] == 0 {
			t.Errorf("after 65 minutes: %d events", len(s.now()))
		}
		s.write("written again")
		time.Sleep(31 * time.Minute) // 96
		synctest.Wait()
		if len(s.now()) != 1 || s.now()["written again"] == 0 {
			t.Errorf("after 96 minutes: %d events", len(s.now()))
		}
		time.Sleep(40 * time.Minute) // 136
		synctest.Wait()
		if len(s.now()) != 0 {
			t.Errorf("at the end: %v", s.now())
		}
		// A store that was restored counts from an earlier revision.
		synctest.Wait()
		s.restore(5)
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		s.write("in the restored store")
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		if len(s.now()) != 1 {
			t.Error("deleted on the word of revisions of another store")
		}
		cancel()
		<-done
	})
}
