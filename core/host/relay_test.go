package host_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/kms"
	"github.com/pintle-dev/pintle/sdk/peers"
	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// callingPlugin is linked into the test, which calls others in its name.
type callingPlugin struct {
	base
	envs chan plugin.Env
}

func (c *callingPlugin) Run(ctx context.Context, env plugin.Env) error {
	c.envs <- env
	<-ctx.Done()
	return ctx.Err()
}

// startCalling runs a host with a plugin that uses some points, and returns its way to others.
func startCalling(t testing.TB, uses []protocol.Point, others ...host.Spec) (*running, *peers.Peers) {
	t.Helper()
	c := &callingPlugin{base: base{name: "caller"}, envs: make(chan plugin.Env, 8)}
	r := start(t, nil, append(others, host.Spec{Name: "caller", Placement: host.Builtin, Builtin: c, Uses: uses})...)
	p, err := peers.Connect(<-c.envs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return r, p
}

func remoteKeys(t testing.TB, r *running, p *peers.Peers, name string) kms.KeyManager {
	t.Helper()
	c, err := remote.Connect(r.ctx, p.Conn(name), "")
	if err != nil {
		t.Fatal(err)
	}
	k, ok := c.KeyManager()
	if !ok {
		t.Fatalf("%s is no key manager", name)
	}
	return k
}

func TestAPluginCallsAnotherInEachPlacement(t *testing.T) {
	r, p := startCalling(t, []protocol.Point{protocol.PointKeyManager}, spec(t, "keys", "far"),
		host.Spec{Name: "near", Placement: host.Builtin, Builtin: &testKeyManager{base: base{name: "near"}}})
	for _, name := range []string{"far", "near"} {
		t.Run(name, func(t *testing.T) {
			r.wait(t, name, healthy)
			k := remoteKeys(t, r, p, name)
			w, err := k.Wrap(r.ctx, []byte("secret"))
			if err != nil {
				t.Fatal(err)
			}
			if key, err := k.Unwrap(r.ctx, w); err != nil || string(key) != "secret" {
				t.Errorf("unwrap: %q, %v", key, err)
			}
			// What a plugin says itself comes through as it is.
			if _, err := k.Wrap(r.ctx, []byte("refuse")); err == nil || err.Error() != "no more keys today" {
				t.Errorf("a refusal: %v", err)
			}
		})
	}
}

func TestAPluginFollowsOthers(t *testing.T) {
	r, p := startCalling(t, []protocol.Point{protocol.PointKeyManager}, spec(t, "keys", "keys"), spec(t, "network", "net"))
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	seen := make(chan []peers.Peer, 64)
	go func() { _ = p.Watch(ctx, protocol.PointKeyManager, func(list []peers.Peer) { seen <- list }) }()
	waitFor := func(what string, f func(peers.Peer) bool) peers.Peer {
		t.Helper()
		for {
			select {
			case list := <-seen:
				if slices.ContainsFunc(list, func(p peers.Peer) bool { return p.Name != "keys" }) {
					t.Fatalf("others than key managers are told: %+v", list)
				}
				if len(list) == 1 && f(list[0]) {
					return list[0]
				}
			case <-r.ctx.Done():
				t.Fatalf("never told: %s", what)
			}
		}
	}
	before := waitFor("it runs", func(p peers.Peer) bool { return p.Available })
	if before.Version != "1.2.3" {
		t.Errorf("peer: %+v", before)
	}
	k := remoteKeys(t, r, p, "keys")
	if err := syscall.Kill(r.wait(t, "keys", healthy).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	after := waitFor("it runs again", func(p peers.Peer) bool { return p.Available && p.Session != before.Session })
	if after.Session < before.Session {
		t.Errorf("session %d behind %d", after.Session, before.Session)
	}
	if _, err := k.Status(r.ctx); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

func TestAPeerThatIsAwayIsSaidToBeAtOnce(t *testing.T) {
	r, p := startCalling(t, []protocol.Point{protocol.PointKeyManager}, spec(t, "quit", "keys"))
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	_, err := pluginv1.NewKeyManagerClient(p.Conn("keys")).Status(ctx, &pluginv1.KeyStatusRequest{})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "plugin keys is not running") {
		t.Errorf("error: %v", err)
	}
}

func TestOnlyPointsThatAreUsedCanBeCalled(t *testing.T) {
	r, p := startCalling(t, []protocol.Point{protocol.PointNetwork}, spec(t, "keys", "keys"), spec(t, "network", "net"))
	r.wait(t, "keys", healthy)
	r.wait(t, "net", healthy)
	for _, tc := range []struct {
		name string
		call func() error
		want codes.Code
	}{
		{"a point of another kind", func() error {
			_, err := pluginv1.NewKeyManagerClient(p.Conn("keys")).Status(r.ctx, &pluginv1.KeyStatusRequest{})
			return err
		}, codes.PermissionDenied},
		{"settings of another", func() error {
			_, err := pluginv1.NewBaseClient(p.Conn("net")).Configure(r.ctx, &pluginv1.ConfigureRequest{})
			return err
		}, codes.PermissionDenied},
		{"who a plugin is that offers nothing usable", func() error {
			_, err := pluginv1.NewBaseClient(p.Conn("keys")).Info(r.ctx, &pluginv1.InfoRequest{})
			return err
		}, codes.Unimplemented},
		{"the point on a plugin without it", func() error {
			_, err := pluginv1.NewNetworkClient(p.Conn("keys")).Check(r.ctx, &pluginv1.CheckRequest{})
			return err
		}, codes.Unimplemented},
		{"nobody", func() error {
			_, err := pluginv1.NewNetworkClient(p.Conn("")).Check(r.ctx, &pluginv1.CheckRequest{})
			return err
		}, codes.InvalidArgument},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.call(); status.Code(err) != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	if err := p.Watch(r.ctx, protocol.PointKeyManager, func([]peers.Peer) { t.Error("told of key managers") }); err == nil || !strings.Contains(err.Error(), "keymanager") {
		t.Errorf("watch: %v", err)
	}
}

func TestWhoUsesNoPointsGetsNoWay(t *testing.T) {
	c := &callingPlugin{base: base{name: "caller"}, envs: make(chan plugin.Env, 1)}
	start(t, nil, host.Spec{Name: "caller", Placement: host.Builtin, Builtin: c})
	if _, err := peers.Connect(<-c.envs); !errors.Is(err, peers.ErrNone) {
		t.Errorf("error: %v", err)
	}
}

func TestATokenEndsWithItsSession(t *testing.T) {
	c := &callingPlugin{base: base{name: "caller"}, envs: make(chan plugin.Env, 8)}
	r := start(t, nil, spec(t, "keys", "keys"),
		host.Spec{Name: "caller", Placement: host.Builtin, Builtin: c, Uses: []protocol.Point{protocol.PointKeyManager}})
	r.wait(t, "keys", healthy)
	old, err := peers.Connect(<-c.envs)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	if err := r.Restart("caller"); err != nil {
		t.Fatal(err)
	}
	<-c.envs
	_, err = pluginv1.NewKeyManagerClient(old.Conn("keys")).Status(r.ctx, &pluginv1.KeyStatusRequest{})
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("error: %v", err)
	}
}

func TestStreamsDeadlinesAndCancellingPassThrough(t *testing.T) {
	r, p := startCalling(t, []protocol.Point{protocol.PointResource, protocol.PointKeyManager}, spec(t, "types", "widgets"), spec(t, "keys", "keys"))
	r.wait(t, "widgets", healthy)
	r.wait(t, "keys", healthy)
	client, err := remote.Connect(r.ctx, p.Conn("widgets"), "")
	if err != nil {
		t.Fatal(err)
	}
	b := remote.NewBundle("widgets", patience)
	_, gone, err := b.Attach(r.ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Detach()
	validate := func(name string) error {
		req := &resource.Request{Operation: resource.Create, Name: name, Object: map[string]any{"spec": map[string]any{}}}
		return b.Hooks(widgets).(resource.Validator).Validate(r.ctx, req).ToAggregate()
	}
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if err := validate("good"); err != nil {
				t.Errorf("good: %v", err)
			}
			if err := validate("bad"); err == nil || !strings.Contains(err.Error(), "must not be negative") {
				t.Errorf("bad: %v", err)
			}
		})
	}
	all.Wait()
	ctx, cancel := context.WithTimeout(r.ctx, 30*time.Millisecond)
	defer cancel()
	_, err = pluginv1.NewKeyManagerClient(p.Conn("keys")).Wrap(ctx, &pluginv1.WrapRequest{Key: []byte("slow")})
	// The plugin learns of the deadline, too, and its answer may be the first to be back.
	if code := status.Code(err); code != codes.DeadlineExceeded && (code != codes.Aborted || !strings.Contains(err.Error(), "deadline exceeded")) {
		t.Errorf("a slow call: %v", err)
	}
	if err := validate("die"); err == nil {
		t.Error("a call to a plugin that died succeeded")
	}
	select {
	case <-gone:
	case <-r.ctx.Done():
		t.Error("the stream of a dead plugin did not end")
	}
}

// BenchmarkRelayedCall measures what a call to another plugin's process costs, with and
// without the host between.
func BenchmarkRelayedCall(b *testing.B) {
	r, p := startCalling(b, []protocol.Point{protocol.PointKeyManager}, spec(b, "keys", "keys"))
	r.wait(b, "keys", healthy)
	direct, err := r.KeyManager("keys")
	if err != nil {
		b.Fatal(err)
	}
	relayed := remoteKeys(b, r, p, "keys")
	for _, c := range []struct {
		name string
		k    kms.KeyManager
	}{{"direct", direct}, {"relayed", relayed}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.k.Status(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
