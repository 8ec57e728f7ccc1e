package main

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/sdk/apiservice"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
)

func TestContract(t *testing.T) {
	plugintest.RunAPIService(t, plugintest.APIServiceCase{
		Case: plugintest.Case{BadSettings: map[string]string{
			`{"seconds":0}`: "settings.seconds", `{"minutes":1}`: "settings.minutes",
		}},
		New: func() apiservice.APIService { return newLoadAverages() },
	})
}

// Who watches sees the machine get busy.
func TestWatch(t *testing.T) {
	loads := make(chan string, 2)
	loads <- "0.10"
	l := &loadAverages{interval: time.Millisecond, read: func() (*LoadAverage, error) {
		return &LoadAverage{ObjectMeta: metav1.ObjectMeta{Name: "m"}, One: <-loads}, nil
	}}
	ctx, stop := context.WithCancel(t.Context())
	handler, err := l.Serve(ctx, plugin.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler)
	defer s.Close()
	defer func() { stop(); close(loads) }()
	resp, err := s.Client().Get(s.URL + "/apis/load.example.dev/v1/loadaverages?watch=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for _, want := range []string{`ADDED 0.10`, `MODIFIED 0.20`} {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		var e struct {
			Type   string
			Object LoadAverage
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join([]string{e.Type, e.Object.One}, " "); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		if e.Type == "ADDED" {
			loads <- "0.20"
		}
	}
}
