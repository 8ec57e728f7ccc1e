package main

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/sdk/apiservice"
	"github.com/pintle-dev/pintle/sdk/apiservice/objects"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// GroupVersions implements apiservice.APIService.
func (*Plugin) GroupVersions() []apiservice.GroupVersion {
	return []apiservice.GroupVersion{{Group: groupVersion.Group, Version: groupVersion.Version}}
}

// Serve implements apiservice.APIService: lists, watches and tables of what is in a store, which is
// kept as the machine is until ctx is done. Data that has to be fetched for each request needs an
// http.Handler of its own; the request's context says who asks (apiservice.UserFrom).
func (p *Plugin) Serve(ctx context.Context, env plugin.Env) (http.Handler, error) {
	store := objects.NewStore(gizmos())
	if err := p.refresh(store); err != nil {
		return nil, err
	}
	go func() {
		tick := time.NewTicker(p.settings.interval())
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := p.refresh(store); err != nil {
				env.Log.Warn("what is served is old", "error", err)
			}
		}
	}()
	return objects.Handler(groupVersion, store)
}

// refresh makes the store what is there now. Who watches hears of what has changed.
func (p *Plugin) refresh(store *objects.Store) error {
	var now []objects.Object
	for _, f := range p.settings.FileSystems {
		g, err := look(f)
		if err != nil {
			return err
		}
		now = append(now, g)
	}
	return store.Replace(now)
}

func look(f FileSystem) (*Gizmo, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(f.Path, &st); err != nil {
		return nil, fmt.Errorf("file system %s: %s: %w", f.Name, f.Path, err)
	}
	block := st.Bsize
	return &Gizmo{
		ObjectMeta: metav1.ObjectMeta{Name: f.Name}, Path: f.Path,
		Size: int64(st.Blocks) * block, Free: int64(st.Bavail) * block,
	}, nil
}
