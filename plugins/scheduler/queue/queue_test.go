package queue_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/plugins/scheduler/model"
	"github.com/pintle-dev/pintle/plugins/scheduler/queue"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newQueue() (*queue.Queue, *clock) {
	c := &clock{t: time.Unix(1000, 0)}
	return queue.New(time.Second, 10*time.Second, c.now), c
}

func pod(name string, priority int32) *model.Pod {
	p := &model.Pod{Priority: priority, Constraints: &model.Constraints{}}
	p.Name, p.UID = name, types.UID(name)
	return p
}

func names(q *queue.Queue) []string {
	var out []string
	for item := q.Pop(); item != nil; item = q.Pop() {
		out = append(out, item.Pod.Name)
	}
	return out
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func TestPriorityThenAge(t *testing.T) {
	q, _ := newQueue()
	q.Set(pod("old", 0))
	q.Set(pod("young", 0))
	q.Set(pod("important", 5))
	q.Set(pod("gone", 9))
	q.Delete("gone")
	equal(t, names(q), "important", "old", "young")
}

func TestBackOffDoubles(t *testing.T) {
	q, c := newQueue()
	q.Set(pod("p", 0))
	for i, wait := range []time.Duration{1, 2, 4, 8, 10, 10} {
		item := q.Pop()
		if item == nil {
			t.Fatalf("attempt %d: nothing to try", i)
		}
		q.Retry(item)
		c.t = c.t.Add(wait*time.Second - time.Millisecond)
		q.Flush()
		equal(t, names(q))
		c.t = c.t.Add(time.Millisecond)
		q.Flush()
	}
}

func TestWaitingPodsMoveOnTheirCausesOnly(t *testing.T) {
	q, c := newQueue()
	q.Set(pod("a", 0))
	q.Set(pod("b", 0))
	q.Wait(q.Pop(), 1)
	q.Wait(q.Pop(), 2)
	c.t = c.t.Add(time.Minute)
	q.Flush()
	equal(t, names(q))
	q.Move(4, nil)
	equal(t, names(q))
	q.Move(3, func(p *model.Pod) bool { return p.Name == "b" })
	equal(t, names(q), "b")
	q.Move(1, nil)
	equal(t, names(q), "a")
}

func TestMoveKeepsBackOff(t *testing.T) {
	q, c := newQueue()
	q.Set(pod("a", 0))
	q.Wait(q.Pop(), 1)
	q.Move(1, nil)
	equal(t, names(q))
	if next := q.Flush(); !next.Equal(c.t.Add(time.Second)) {
		t.Errorf("look again at %v", next)
	}
	c.t = c.t.Add(time.Second)
	q.Flush()
	equal(t, names(q), "a")
}

func TestLeftoversAreTriedAgain(t *testing.T) {
	q, c := newQueue()
	q.Set(pod("a", 0))
	q.Wait(q.Pop(), 0)
	for range 11 {
		c.t = c.t.Add(30 * time.Second)
		q.Flush()
	}
	equal(t, names(q), "a")
}

func TestChangesOfAPod(t *testing.T) {
	q, c := newQueue()
	gated := pod("g", 0)
	gated.Constraints = &model.Constraints{Gated: true}
	q.Set(gated)
	equal(t, names(q))
	q.Set(pod("g", 0))
	item := q.Pop()
	if item == nil {
		t.Fatal("a pod without gates is not tried")
	}
	q.Wait(item, 1)
	c.t = c.t.Add(time.Minute)
	q.Set(pod("g", 0))
	equal(t, names(q)) // a change that scheduling can't see
	other := pod("g", 0)
	other.Class = "other"
	q.Set(other)
	equal(t, names(q), "g")
	q.Delete("g")
	q.Retry(item)
	c.t = c.t.Add(time.Minute)
	q.Flush()
	equal(t, names(q)) // it was deleted in between
}

// TestNoPodIsLost drives the queue at random: every pod that was not deleted can always
// be brought back to being tried.
func TestNoPodIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		q, c := newQueue()
		there := map[string]bool{}
		var hands []*queue.Item
		name := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0:
				n := name.Draw(rt, "name")
				q.Set(pod(n, int32(rapid.IntRange(0, 2).Draw(rt, "priority"))))
				there[n] = true
			case 1:
				n := name.Draw(rt, "name")
				q.Delete(types.UID(n))
				delete(there, n)
			case 2:
				if item := q.Pop(); item != nil {
					hands = append(hands, item)
				}
			case 3, 4:
				if len(hands) > 0 {
					item := hands[0]
					hands = hands[1:]
					if rapid.Bool().Draw(rt, "wait") {
						q.Wait(item, uint16(rapid.IntRange(0, 3).Draw(rt, "causes")))
					} else {
						q.Retry(item)
					}
				}
			case 5:
				q.Move(uint16(rapid.IntRange(0, 3).Draw(rt, "causes")), nil)
			case 6:
				c.t = c.t.Add(time.Duration(rapid.IntRange(0, 20).Draw(rt, "seconds")) * time.Second)
				q.Flush()
			}
		}
		for _, item := range hands {
			q.Retry(item)
		}
		seen := map[string]bool{}
		for range 30 {
			c.t = c.t.Add(time.Minute)
			q.Flush()
			for _, n := range names(q) {
				if seen[n] {
					rt.Fatalf("%s came twice", n)
				}
				seen[n] = true
			}
		}
		for n := range there {
			if !seen[n] {
				rt.Fatalf("%s is lost", n)
			}
		}
		if len(seen) != len(there) {
			rt.Fatalf("came: %v, there: %v", seen, there)
		}
	})
}
