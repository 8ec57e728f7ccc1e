package checksums

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
)

// forgetful is an API server whose history does not last: the first watch ends after a bookmark,
// the second, which must begin there, is told that what happened is forgotten, and the third
// lasts. Asked says what was asked for, in order.
type forgetful struct {
	t              *testing.T
	asked          chan string
	lists, watches int
}

func (f *forgetful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if got := r.Header.Get("Authorization"); got != "Bearer secret" {
		f.t.Errorf("Authorization: %q", got)
	}
	w.Header().Set("Content-Type", "application/json")
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodPatch:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			f.t.Error(err)
		}
		var patch struct {
			Metadata struct{ ResourceVersion string }
		}
		if err := json.Unmarshal(body, &patch); err != nil {
			f.t.Errorf("patch %s: %v", body, err)
		}
		f.asked <- "patch " + r.URL.Path + " at " + patch.Metadata.ResourceVersion
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"kind":"Status","code":409,"message":"changed meanwhile"}`)
	case q.Get("watch") == "":
		f.lists++
		f.asked <- "list " + q.Get("labelSelector")
		_, _ = fmt.Fprintf(w, `{"metadata":{"resourceVersion":"%d00"},"items":[{"metadata":{"namespace":"n","name":"m","resourceVersion":"%d"}}]}`, f.lists, f.lists)
	default:
		f.watches++
		f.asked <- "watch from " + q.Get("resourceVersion")
		switch f.watches {
		case 1:
			_, _ = io.WriteString(w, `{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"150"}}}`+"\n")
		case 2:
			_, _ = io.WriteString(w, `{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}`+"\n")
		default:
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}
}

func TestWatchIsResumedAndBegunAnew(t *testing.T) {
	h := plugintest.StartProcess(t, built(t))
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	api := &forgetful{t: t, asked: make(chan string, 100)}
	server := &http.Server{Handler: api, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})

	if err := h.Client.Configure(t.Context(), []byte(`{"label":"x"}`)); err != nil {
		t.Fatal(err)
	}
	env := h.Environment
	env.API.Socket, env.API.Token = l.Addr().String(), "secret"
	h.Client.SetEnvironment(env)
	controller, _ := h.Client.Controller()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- controller.Run(ctx, plugin.Env{}) }()
	const patch = "patch /api/v1/namespaces/n/configmaps/m at "
	for _, want := range []string{
		"list x", patch + "1", "watch from 100", "watch from 150", "list x", patch + "2", "watch from 200",
	} {
		select {
		case got := <-api.asked:
			if got != want {
				t.Fatalf("asked %q, want %q", got, want)
			}
		case err := <-ended:
			t.Fatalf("it ended before it asked %q: %v", want, err)
		case <-time.After(plugintest.Patience):
			t.Fatalf("it has not asked %q", want)
		}
	}
	// In the middle of a watch, nothing coming.
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("stop: %v", err)
		}
	case <-time.After(plugintest.Patience):
		t.Error("it does not stop while it watches")
	}
}
