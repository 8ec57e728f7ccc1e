package host_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/core/host"
)

// eventServer is an API server that takes events, and has a UID for every plugin.
type eventServer struct {
	mu   sync.Mutex
	seen []corev1.Event
}

func (s *eventServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	switch {
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/events"):
		var e corev1.Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, e)
		s.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(e)
	case r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/plugins/"):
		_, name, _ := strings.Cut(r.URL.Path, "/plugins/")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"apiVersion": "core.pintle.dev/v1", "kind": "Plugin",
			"metadata": map[string]any{"name": name, "uid": "uid-of-" + name},
		})
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/plugins"):
		if r.URL.Query().Get("watch") != "" {
			<-r.Context().Done()
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"apiVersion": "core.pintle.dev/v1", "kind": "PluginList", "metadata": map[string]any{"resourceVersion": "1"}, "items": []any{},
		})
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`))
	}
}

func (s *eventServer) find(reason string) (corev1.Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.seen {
		if e.Reason == reason {
			return e, true
		}
	}
	return corev1.Event{}, false
}

func TestEventsSayWhatHappensToPlugins(t *testing.T) {
	events := &eventServer{}
	server := httptest.NewServer(events)
	t.Cleanup(server.Close)
	quick := func(c *host.Config) {
		c.Client = &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeJSON}}
		c.Backoff = host.Backoff{Initial: time.Millisecond, Max: time.Hour, Open: 2}
	}
	misnamed := spec(t, "controller", "misnamed")
	misnamed.Command[3] = "other"
	start(t, quick, spec(t, "panic-once", "jumpy"), spec(t, "fails", "sad"), misnamed)
	for reason, note := range map[string]string{
		"Panicked": "died of panic: assignment to entry in nil map",
		"Started":  "Version 1.2.3 works, as process ",
		"Failed":   "the world is not as it should be",
		"BackOff":  "Failed 2 times in a row",
		"Refused":  `calls itself "other"`,
	} {
		eventually(t, patience, "event "+reason, func() bool { _, ok := events.find(reason); return ok })
		e, _ := events.find(reason)
		if !strings.Contains(e.Message, note) {
			t.Errorf("%s: %q", reason, e.Message)
		}
		if o := e.InvolvedObject; o.Kind != "Plugin" || o.APIVersion != "core.pintle.dev/v1" || string(o.UID) != "uid-of-"+o.Name || e.Namespace != "default" {
			t.Errorf("%s: about %+v, in %s", reason, o, e.Namespace)
		}
	}
}

func TestMetricsOfPlugins(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := spec(t, "network", "net")
	r := start(t, func(c *host.Config) { c.Metrics = registry }, s)
	r.wait(t, "net", healthy)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			key := f.GetName()
			for _, l := range m.GetLabel() {
				key += " " + l.GetValue()
			}
			values[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	if values["pintle_plugin_healthy net"] != 1 || values["pintle_plugin_memory_bytes net"] < 1<<20 || values["pintle_plugin_restarts_total net"] != 0 {
		t.Errorf("metrics: %v", values)
	}
	if values["pintle_plugin_call_duration_seconds Base/Configure net"] != 1 {
		t.Errorf("calls were not counted: %v", values)
	}
}
