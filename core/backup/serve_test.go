package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/backup"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

type allow func(a auth.Attributes) (bool, error)

func (f allow) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	ok, err := f(a)
	return ok, "", err
}

func openStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: t.TempDir(), Bootstrap: true, MinFreeBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t *testing.T, s *store.Store, key string, data []byte) {
	t.Helper()
	if _, err := s.Write(t.Context(), store.Write{Key: store.Key(key), Data: data, RevisionAt: -1, Expect: store.Any}); err != nil {
		t.Fatal(err)
	}
}

func serve(t *testing.T, s *store.Store, a allow, change func(*backup.Handler)) *httptest.Server {
	t.Helper()
	h := &backup.Handler{
		Cluster: backup.Cluster{
			Store: s, ID: func(context.Context) string { return "id" }, Version: "v1",
			Keys: func() ([]backup.File, error) { return []backup.File{{Path: "pki/ca.key", Data: []byte("k")}}, nil },
		},
		Authorizer: a, Logger: slog.New(slog.DiscardHandler),
		User: func(context.Context) (resource.User, bool) { return resource.User{Name: "me"}, true },
	}
	if change != nil {
		change(h)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func ask(t *testing.T, srv *httptest.Server, method, query string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+backup.Path+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestHandler(t *testing.T) {
	s := openStore(t)
	put(t, s, "secrets/a/b", []byte(`{"secret":1}`))
	var asked []string
	only := func(verb string) allow {
		return func(a auth.Attributes) (bool, error) {
			asked = append(asked, fmt.Sprint(a.Verb, " ", a.Group, " ", a.Resource, " ", a.Namespace, " ", a.User.Name))
			return a.Verb == verb || verb == "*", nil
		}
	}
	for _, c := range []struct {
		name, method, query string
		allow               allow
		code                int
		text                string
		asked               string
	}{
		{"without keys", http.MethodPost, "", only("list"), 200, "", "list * *  me"},
		{"with keys", http.MethodPost, "?keys=true", only("*"), 200, "", "* * *  me"},
		{"keys of who may list", http.MethodPost, "?keys=true", only("list"), 403, "be anybody", "* * *  me"},
		{"nobody", http.MethodPost, "", only("get"), 403, "list all resources", "list * *  me"},
		{"no answer", http.MethodPost, "", func(auth.Attributes) (bool, error) { return false, errors.New("no webhook") }, 500, "no webhook", ""},
		{"another method", http.MethodGet, "", only("*"), 405, "not supported", ""},
		{"nonsense", http.MethodPost, "?keys=x", only("*"), 400, "want true or false", ""},
	} {
		asked = nil
		resp := ask(t, serve(t, s, c.allow, nil), c.method, c.query)
		if c.code != 200 {
			b, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.code || !strings.Contains(string(b), c.text) || !strings.Contains(string(b), `"kind":"Status"`) {
				t.Errorf("%s: %d %s", c.name, resp.StatusCode, b)
			}
		} else {
			r, err := backup.Open(resp.Body)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			inv, err := backup.Inspect(r)
			if err != nil || len(inv.Resources) != 1 || inv.Resources[0].Objects != 1 || (len(inv.Keys) > 0) != strings.Contains(c.query, "true") ||
				inv.Header.Cluster != "id" || inv.Header.Revision != s.Revision() {
				t.Errorf("%s: %+v %v", c.name, inv, err)
			}
		}
		if got := strings.Join(asked, ","); got != c.asked {
			t.Errorf("%s: the authorizer was asked %q, want %q", c.name, got, c.asked)
		}
	}
}

// A client that does not read is cut off, nobody else waits for it but a second backup, and then
// there is room for the next.
func TestHandlerOfASlowClient(t *testing.T) {
	s := openStore(t)
	for i := range 64 {
		put(t, s, fmt.Sprintf("configmaps/a/%d", i), noise(uint64(i), 256<<10))
	}
	srv := serve(t, s, func(auth.Attributes) (bool, error) { return true, nil }, func(h *backup.Handler) { h.Stall = 2 * time.Second })
	slow := ask(t, srv, http.MethodPost, "")
	if slow.StatusCode != http.StatusOK {
		t.Fatal(slow.Status)
	}
	if second := ask(t, srv, http.MethodPost, ""); second.StatusCode != http.StatusTooManyRequests || second.Header.Get("Retry-After") == "" {
		t.Errorf("a second backup meanwhile: %s", second.Status)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		next := ask(t, srv, http.MethodPost, "")
		if next.StatusCode == http.StatusOK {
			r, err := backup.Open(next.Body)
			if err == nil {
				_, err = backup.Inspect(r)
			}
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the slow client is waited for: %s", next.Status)
		}
		time.Sleep(20 * time.Millisecond)
	}
	r, err := backup.Open(slow.Body)
	if err == nil {
		_, err = r.Finish()
	}
	if err == nil {
		t.Error("the slow client has all of it")
	}
}
