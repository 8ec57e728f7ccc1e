package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/sdk/apiservice"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
)

func TestAPIServiceContract(t *testing.T) {
	plugintest.RunAPIService(t, plugintest.APIServiceCase{
		Case: plugintest.Case{BadSettings: map[string]string{
			`{"seconds":0}`: "settings.seconds",
			`{"fileSystems":[{"name":"x","path":"relative"}]}`: "settings.fileSystems[0].path",
			`{"minutes":1}`: "settings.minutes",
		}},
		New: func() apiservice.APIService { return &Plugin{} },
	})
}

func TestServesWhatTheMachineHas(t *testing.T) {
	p := &Plugin{settings: Settings{Seconds: 1, FileSystems: []FileSystem{{Name: "root", Path: "/"}, {Name: "scratch", Path: t.TempDir()}}}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	h, err := p.Serve(ctx, plugin.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/apis/example.dev/v1/gizmos", nil))
	var list struct{ Items []Gizmo }
	if err := json.Unmarshal(answer.Body.Bytes(), &list); err != nil {
		t.Fatalf("%s: %v", answer.Body, err)
	}
	if len(list.Items) != 2 || list.Items[0].Name != "root" || list.Items[0].Size <= 0 || list.Items[0].Free > list.Items[0].Size {
		t.Errorf("%+v", list.Items)
	}
}

func TestWhatIsNotThereIsNamed(t *testing.T) {
	p := &Plugin{settings: Settings{Seconds: 1, FileSystems: []FileSystem{{Name: "gone", Path: "/no/such/place"}}}}
	if _, err := p.Serve(t.Context(), plugin.Env{}); err == nil || !strings.Contains(err.Error(), "file system gone") {
		t.Errorf("got %v", err)
	}
}
