package calls_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/sdk/internal/calls"
)

// Callers that give up, some while they receive for the others, leave everybody else with the answer to
// their own call, and nothing behind.
func TestCallersThatGiveUpLeaveOthersTheirAnswers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		release := make(chan struct{})
		life, end := context.WithCancel(context.Background())
		defer end()
		c := clientOf(t, serverOf(func(_ context.Context, m message) message {
			if m.text == "slow" {
				<-release
			}
			return m
		}).Local(life))
		n := rapid.IntRange(1, 30).Draw(rt, "calls")
		what := rapid.SliceOfN(rapid.SampledFrom([]string{"fast", "slow", "gives up", "is late", "gives up before"}), n, n).Draw(rt, "what")
		pause := rapid.SliceOfN(rapid.IntRange(0, 300), n, n).Draw(rt, "µs")
		ctx := bounded(t)
		var all, slow sync.WaitGroup
		for i, w := range what {
			switch w {
			case "fast":
				all.Go(func() {
					if got, err := call(ctx, c, "fast", 0); err != nil || got != "fast" {
						t.Errorf("fast: %q, %v", got, err)
					}
				})
			case "slow":
				slow.Go(func() {
					if got, err := call(ctx, c, "slow", 0); err != nil || got != "slow" {
						t.Errorf("slow: %q, %v", got, err)
					}
				})
			default:
				all.Go(func() {
					within, stop := context.WithCancel(ctx)
					timeout := time.Duration(0)
					wait := time.Duration(pause[i]) * time.Microsecond
					switch w {
					case "gives up":
						time.AfterFunc(wait, stop)
					case "gives up before":
						stop()
					default:
						timeout = wait + time.Microsecond
					}
					defer stop()
					_, err := c.Call(within, timeout, "", func(id uint64) message { return message{id: id, text: "slow"} })
					if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s: %v", w, err)
					}
				})
			}
		}
		all.Wait()
		close(release)
		slow.Wait()
		finish, stop := context.WithTimeout(ctx, 10*time.Second)
		defer stop()
		// The answers that nobody waits for are received as well.
		for c.Waiting() > 0 && finish.Err() == nil {
			time.Sleep(100 * time.Microsecond)
		}
		if n := c.Waiting(); n > 0 {
			t.Errorf("%d answers were not received", n)
		}
		c.Finish(finish)
		if finish.Err() != nil {
			t.Error("it does not finish")
		}
	})
}

// What has to be done with a message may wait for a call that is made meanwhile.
func TestWhatComesBesideAnswersHoldsNoCallerUp(t *testing.T) {
	var asked atomic.Int64
	then := make(chan struct{})
	c := clientWith(t, serverOf(echo).Local(t.Context()), func(m message) func() {
		if m.text != "reads!" {
			return nil
		}
		asked.Add(1)
		return func() { <-then }
	})
	ctx := bounded(t)
	// Whoever receives what is to be done has an answer with it, or is relieved.
	for range 10 {
		if got, err := call(ctx, c, "reads", 0); err != nil || got != "reads!" {
			t.Fatalf("%q, %v", got, err)
		}
		then <- struct{}{}
	}
	if asked.Load() != 10 {
		t.Errorf("done %d times", asked.Load())
	}
	if got, err := call(ctx, c, "x", 0); err != nil || got != "x!" {
		t.Errorf("%q, %v", got, err)
	}
	c.Close()
}

// Where the process at the other end has gone, that is seen though nobody calls, and after the last answers.
func TestTheEndOfAnIdleLineIsSeen(t *testing.T) {
	life, end := context.WithCancel(context.Background())
	c := clientOf(t, serverOf(echo).Local(life))
	if _, err := call(bounded(t), c, "x", 0); err != nil {
		t.Fatal(err)
	}
	end()
	select {
	case <-c.Done():
	case <-bounded(t).Done():
		t.Fatal("the end is not seen")
	}
	if _, err := call(t.Context(), c, "x", 0); !errors.Is(err, calls.ErrGone) {
		t.Errorf("a later call: %v", err)
	}
}
