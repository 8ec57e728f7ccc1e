package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/apiservice"
	"github.com/pintle-dev/pintle/sdk/apiservice/objects"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

var groupVersion = schema.GroupVersion{Group: "load.example.dev", Version: "v1"}

// LoadAverage is how busy one machine is.
type LoadAverage struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	// One, Five and Fifteen are the averages over so many minutes.
	One     string `json:"one"`
	Five    string `json:"five"`
	Fifteen string `json:"fifteen"`
}

// DeepCopyObject implements runtime.Object.
func (l *LoadAverage) DeepCopyObject() runtime.Object {
	out := *l
	l.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

// explained is what kubectl explain shows.
const explained = `{
	"description": "LoadAverage is how busy one machine is.",
	"properties": {
		"one": {"type": "string", "description": "Load average over the last minute."},
		"five": {"type": "string", "description": "Load average over the last five minutes."},
		"fifteen": {"type": "string", "description": "Load average over the last fifteen minutes."}
	}
}`

// loadAverages serves them.
type loadAverages struct {
	interval time.Duration
	read     func() (*LoadAverage, error)
}

var _ apiservice.APIService = (*loadAverages)(nil)

func newLoadAverages() *loadAverages {
	return &loadAverages{interval: 5 * time.Second, read: readMachine}
}

// Info implements plugin.Plugin. It asks for no permissions: it never calls the API.
func (*loadAverages) Info() plugin.Info {
	return plugin.Info{Name: "loadavg", Version: "0.1.0", Description: "Load averages as an API of their own"}
}

// ConfigSchema implements plugin.Plugin.
func (*loadAverages) ConfigSchema() []byte {
	return []byte(`{
		"type": "object",
		"properties": {
			"seconds": {"type": "integer", "minimum": 1, "maximum": 3600, "default": 5}
		}
	}`)
}

// Configure implements plugin.Plugin.
func (l *loadAverages) Configure(_ context.Context, raw []byte) error {
	var settings struct {
		Seconds int `json:"seconds"`
	}
	if err := plugin.DecodeSettings(raw, &settings); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if settings.Seconds > 0 {
		l.interval = time.Duration(settings.Seconds) * time.Second
	}
	return nil
}

// GroupVersions implements apiservice.APIService.
func (*loadAverages) GroupVersions() []apiservice.GroupVersion {
	return []apiservice.GroupVersion{{Group: groupVersion.Group, Version: groupVersion.Version}}
}

// Serve implements apiservice.APIService.
func (l *loadAverages) Serve(ctx context.Context, env plugin.Env) (http.Handler, error) {
	store := objects.NewStore(objects.Type{
		Kind: "LoadAverage", Plural: "loadaverages", ShortNames: []string{"load"}, Schema: []byte(explained),
		Columns: []metav1.TableColumnDefinition{
			{Name: "1m", Type: "string"}, {Name: "5m", Type: "string"}, {Name: "15m", Type: "string"},
		},
		Cells: func(o objects.Object) []any {
			l, ok := o.(*LoadAverage)
			if !ok {
				return nil
			}
			return []any{l.One, l.Five, l.Fifteen}
		},
	})
	if err := l.refresh(store); err != nil {
		return nil, err
	}
	go l.keepFresh(ctx, store, env.Log)
	return objects.Handler(groupVersion, store)
}

func (l *loadAverages) refresh(store *objects.Store) error {
	load, err := l.read()
	if err != nil {
		return err
	}
	return store.Replace([]objects.Object{load})
}

// keepFresh reads until the host needs no more.
func (l *loadAverages) keepFresh(ctx context.Context, store *objects.Store, log *slog.Logger) {
	tick := time.NewTicker(l.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := l.refresh(store); err != nil {
			log.Warn("the load averages are as they were", "error", err)
		}
	}
}

// readMachine reads the averages of this machine.
func readMachine() (*LoadAverage, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return nil, err
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 3 {
		return nil, fmt.Errorf("/proc/loadavg says %q", text)
	}
	return &LoadAverage{
		ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(name)},
		One:        fields[0], Five: fields[1], Fifteen: fields[2],
	}, nil
}
