package volumes_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/plugins/workloads/volumes"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// relay is a host's relay, with one storage behind it.
type relay struct {
	pluginv1.UnimplementedPeersServer
	pluginv1.UnimplementedStorageServer
	lists chan []*pluginv1.Peer // closed where it lets nobody watch
	// driver is the storage's name, empty while it is not open.
	driver atomic.Value
}

func (r *relay) Watch(_ *pluginv1.WatchPeersRequest, stream grpc.ServerStreamingServer[pluginv1.WatchPeersResponse]) error {
	for {
		select {
		case list, ok := <-r.lists:
			if !ok {
				return status.Error(codes.PermissionDenied, "not you")
			}
			if err := stream.Send(&pluginv1.WatchPeersResponse{Peers: list}); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (r *relay) Services(context.Context, *pluginv1.StorageServicesRequest) (*pluginv1.StorageServices, error) {
	name, _ := r.driver.Load().(string)
	if name == "" {
		return nil, status.Error(codes.Unavailable, "not open yet")
	}
	return &pluginv1.StorageServices{Driver: name, Provisioner: true}, nil
}

func serveRelay(t *testing.T) (*relay, *volumes.Plugins) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{lists: make(chan []*pluginv1.Peer)}
	server := grpc.NewServer()
	pluginv1.RegisterPeersServer(server, r)
	pluginv1.RegisterStorageServer(server, r)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return r, volumes.NewPlugins(plugin.Env{Peers: plugin.PeersAddress{Socket: socket, Token: "t"}}, slog.New(slog.DiscardHandler))
}

func TestStoragesAmongPlugins(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, p := serveRelay(t)
	changed := make(chan struct{}, 100)
	p.Changed(func() { changed <- struct{}{} })
	tell := func(session uint64, available bool) {
		t.Helper()
		select {
		case r.lists <- []*pluginv1.Peer{{Name: "shelf", Session: session, Available: available}}:
		case <-ctx.Done():
			t.Error("nobody watches")
		}
	}
	// find asks until the answer is as wanted: what was told takes a moment.
	find := func(name, want string) {
		t.Helper()
		for {
			s, err := p.Find(ctx, name)
			got := ""
			switch {
			case errors.Is(err, volumes.ErrNoStorage):
				got = "none"
			case err != nil:
				got = err.Error()
			case s.Provisioner != nil:
				got = s.Driver
			}
			if got == want {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatalf("%s: got %q, want %q", name, got, want)
			}
		}
	}
	go tell(1, true) // it is running, and has not been opened: nobody knows which storage it is
	find("a.example.com", "none")
	r.driver.Store("a.example.com")
	find("a.example.com", "a.example.com")
	find("b.example.com", "none")
	tell(1, false)
	find("a.example.com", "storage a.example.com: plugin shelf is away")
	r.driver.Store("b.example.com") // by other settings
	tell(2, true)
	find("b.example.com", "b.example.com")
	find("a.example.com", "none")
}

func TestNoWayToStorages(t *testing.T) {
	p := volumes.NewPlugins(plugin.Env{}, slog.New(slog.DiscardHandler))
	if _, err := p.Find(t.Context(), "a"); !errors.Is(err, volumes.ErrNoStorage) {
		t.Errorf("a plugin that may call no others: %v", err)
	}
	r, p := serveRelay(t)
	close(r.lists)
	if _, err := p.Find(t.Context(), "a"); err == nil || errors.Is(err, volumes.ErrNoStorage) || !strings.Contains(err.Error(), "not you") {
		t.Errorf("a plugin that may not call storages: %v", err)
	}
}
