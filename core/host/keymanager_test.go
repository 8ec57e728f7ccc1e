package host_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/host"
)

func TestKeyManagerIsWaitedForWhenItsPluginRestarts(t *testing.T) {
	r := start(t, func(c *host.Config) {
		// As it is before there is an API server.
		c.SocketPath, c.Tokens = "", nil
		c.API = func(context.Context, string) (host.Connection, func(), error) { return host.Connection{}, nil, nil }
	}, spec(t, "keys", "hsm"))
	keys, err := r.KeyManager("hsm")
	if err != nil {
		t.Fatal(err)
	}
	w, err := keys.Wrap(r.ctx, []byte("secret"))
	if err != nil || w.KeyID != "k1" || string(turned(w.Data)) != "secret" {
		t.Fatalf("wrap: %+v, %v", w, err)
	}
	if _, err := keys.Wrap(r.ctx, []byte("refuse")); err == nil || err.Error() != "key manager hsm: no more keys today" {
		t.Errorf("refusal: %v", err)
	}
	st := r.wait(t, "hsm", healthy)
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "hsm", func(st host.Status) bool { return st.Restarts == 1 })
	if key, err := keys.Unwrap(r.ctx, w); err != nil || string(key) != "secret" {
		t.Errorf("unwrap after a restart: %q, %v", key, err)
	}
}

func TestCallsOfWhatIsNoKeyManagerFailAtOnce(t *testing.T) {
	r := start(t, nil, spec(t, "network", "net"), spec(t, "types", "gone"))
	keys, err := r.KeyManager("net")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Status(r.ctx); err == nil || !strings.Contains(err.Error(), "plugin net is no key manager: it offers [network]") {
		t.Errorf("error: %v", err)
	}
	if _, err := r.KeyManager("nobody"); err == nil || !strings.Contains(err.Error(), `plugin "nobody" is not in the catalogue`) {
		t.Errorf("error: %v", err)
	}
}

func TestCallsNameTheKeyManagerThatIsAway(t *testing.T) {
	r := start(t, func(c *host.Config) { c.Backoff = host.Backoff{Initial: time.Hour, Max: time.Hour} },
		spec(t, "quit", "hsm"))
	keys, err := r.KeyManager("hsm")
	if err != nil {
		t.Fatal(err)
	}
	r.wait(t, "hsm", func(st host.Status) bool {
		return st.Health == host.HealthBackOff && time.Until(st.NextStart) > time.Minute
	})
	ctx, cancel := context.WithTimeout(r.ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := keys.Status(ctx); err == nil || !strings.Contains(err.Error(), "key manager hsm is BackOff") {
		t.Errorf("error: %v", err)
	}
}
