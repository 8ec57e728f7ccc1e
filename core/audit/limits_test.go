package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/core/auth"
)

// sized is an event with an object of so many bytes.
func sized(n int) *auditv1.Event {
	return &auditv1.Event{Level: auditv1.LevelRequestResponse, RequestURI: "/x", ResponseObject: &runtime.Unknown{Raw: []byte(`"` + strings.Repeat("x", n-2) + `"`)}}
}

func TestTruncate(t *testing.T) {
	kept := &last{}
	s := audit.Truncate(kept, 2000)
	annotated := sized(3000)
	annotated.Annotations = map[string]string{"a": "b"}
	for _, c := range []struct {
		name      string
		event     *auditv1.Event
		truncated bool
		err       string
	}{
		{"small", sized(1000), false, ""},
		{"large", sized(3000), true, ""},
		{"large, with annotations", annotated, true, ""},
		{"large without objects", &auditv1.Event{RequestURI: "/" + strings.Repeat("x", 3000)}, false, "event is too large even after truncating"},
	} {
		t.Run(c.name, func(t *testing.T) {
			kept.event = auditv1.Event{}
			before, err := json.Marshal(c.event)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Write(c.event); (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Fatal(err)
			}
			got := kept.event
			if said := got.Annotations["audit.k8s.io/truncated"] == "true"; said != c.truncated || c.truncated && got.ResponseObject != nil {
				t.Errorf("%+v", got)
			}
			if after, err := json.Marshal(c.event); err != nil || string(after) != string(before) {
				t.Errorf("the event itself has changed: %s %v", after, err)
			}
		})
	}
}

// full takes nothing.
type full struct{}

func (full) Write(*auditv1.Event) error { return errors.New("disk full") }

func (full) Run(context.Context) error { return nil }

func TestStrict(t *testing.T) {
	for _, c := range []struct {
		name, omit string
		sink       audit.Sink
		refused    bool
	}{
		{"not strict", "[]", full{}, false},
		{"strict", "[]", audit.Strict(full{}), true},
		{"strict, without the stage", "[RequestReceived]", audit.Strict(full{}), false},
		{"strict, and working", "[]", audit.Strict(&sink{}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := audit.ParsePolicy([]byte(head + "omitStages: " + c.omit + "\nrules: [{level: Metadata}]\n"))
			if err != nil {
				t.Fatal(err)
			}
			other := &sink{}
			a, err := audit.New(audit.Config{Policy: p, Sinks: []audit.Sink{c.sink, other}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			rec, err := a.Begin(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x", nil), auth.Attributes{Path: "/x", Verb: "get"}, time.Now(), false)
			if (err != nil) != c.refused || rec == nil {
				t.Errorf("%v %v", rec, err)
			}
			rec.Done(200, nil)
			if !slices.Contains(other.levels, "Metadata ResponseComplete") {
				t.Errorf("the other sink has %v", other.levels)
			}
		})
	}
}

// counting is a handler of log lines that counts them.
type counting struct {
	slog.Handler
	lines *atomic.Int32
}

func (c counting) Handle(context.Context, slog.Record) error {
	c.lines.Add(1)
	return nil
}

// A sink that takes nothing does not fill the log with that.
func TestLostEventsAreToldOfTogether(t *testing.T) {
	p, err := audit.ParsePolicy([]byte(head + "rules: [{level: Metadata}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	var lines atomic.Int32
	now := time.Now()
	a, err := audit.New(audit.Config{Policy: p, Sinks: []audit.Sink{full{}}, Now: func() time.Time { return now },
		Logger: slog.New(counting{slog.NewTextHandler(nil, nil), &lines})})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for range 100 {
			if _, err := a.Begin(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x", nil), auth.Attributes{Path: "/x"}, now, false); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(time.Minute)
	}
	if n := lines.Load(); n != 3 {
		t.Errorf("%d lines of 300 lost events in 3 minutes, want 3", n)
	}
}

// Events that wait are bounded by their size, too, and so is what is sent at once.
func TestWebhookBoundsBytes(t *testing.T) {
	batches := make(chan int, 10)
	s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var l auditv1.EventList
		if err := json.NewDecoder(r.Body).Decode(&l); err != nil {
			t.Error(err)
		}
		batches <- len(l.Items)
	}))
	defer s.Close()
	hook, err := audit.OpenWebhook(audit.WebhookConfig{Kubeconfig: kubeconfig(t, s), MaxWait: time.Hour, BufferBytes: 100 << 10, MaxBatchBytes: 50 << 10})
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for range 100 {
		if hook.Write(sized(20<<10)) == nil {
			taken++
		}
	}
	if taken != 4 {
		t.Errorf("%d events of 21 KiB wait in 100 KiB, want 4", taken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := hook.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if len(batches) != 2 || <-batches != 2 || <-batches != 2 {
		t.Error("want two batches of two")
	}
	// One that is larger than all may be goes alone.
	if err := hook.Write(sized(200 << 10)); err != nil {
		t.Error(err)
	}
	if err := hook.Run(ctx); err != nil || <-batches != 1 {
		t.Error(err)
	}
}

// A server that does not answer does not keep ours from ending, however much waits.
func TestWebhookEndsInTime(t *testing.T) {
	held := make(chan struct{})
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-held }))
	defer s.Close()
	defer close(held)
	hook, err := audit.OpenWebhook(audit.WebhookConfig{Kubeconfig: kubeconfig(t, s), MaxBatch: 1, Drain: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := hook.Write(sized(10)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	start := time.Now()
	if err := hook.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
