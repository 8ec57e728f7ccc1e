package cluster_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/cluster"
	"github.com/pintle-dev/pintle/core/store"
)

func servingHosts() pki.Server { return pki.Server{Hosts: []string{"127.0.0.1"}} }

func write(t *testing.T, s *server, name string) store.Object {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	o, err := s.store.Write(ctx, store.Write{Key: store.Key("things//" + name), Data: []byte("{}"), RevisionAt: -1, Expect: store.Any})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestThreeServers(t *testing.T) {
	a := founder(t)
	b := a.add(t, "second")
	c := b.add(t, "third") // any server lets in
	list := c.eventually(t, "three voters", voters(3))
	if r := roles(list); r["first"] != cluster.RoleLeader || r["second"] != cluster.RoleVoter {
		t.Fatalf("roles %v", r)
	}
	for _, s := range list {
		if len(s.API) != 1 || s.Version != "v1" {
			t.Errorf("%+v", s)
		}
	}
	if code, body := b.call(t, http.MethodPost, cluster.TransferPath, `{"to":"third"}`); code != http.StatusOK {
		t.Fatalf("transfer: %d %s", code, body)
	}
	a.eventually(t, "the lead of third", func(l []cluster.Server) bool { return roles(l)["third"] == cluster.RoleLeader })
	o := write(t, a, "x")
	if err := b.store.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.store.Revision() < o.Revision {
		t.Fatal("second is behind what first has acknowledged")
	}
	// The leader itself can be removed: it hands the lead over before.
	if code, body := a.call(t, http.MethodDelete, cluster.ServersPath+"/third", ""); code != http.StatusOK || !strings.Contains(body, "odd number") {
		t.Fatalf("remove: %d %s", code, body)
	}
	a.eventually(t, "two servers", voters(2))
	if err := c.store.Barrier(t.Context()); err == nil {
		t.Fatal("a removed server is up to date")
	}
	// Nor does it come back by itself, though its certificate is good.
	question := `{"op":"add","id":"` + c.id.ID + `","name":"third","address":"` + c.store.Address() + `"}`
	if _, err := c.store.Ask(t.Context(), a.store.Address(), []byte(question)); err == nil || !strings.Contains(err.Error(), "removed") {
		t.Fatalf("a removed server asks to be let in: %v", err)
	}
	if code, body := a.call(t, http.MethodDelete, cluster.ServersPath+"/nobody", ""); code != http.StatusConflict || !strings.Contains(body, "there are first, second") {
		t.Fatalf("remove nobody: %d %s", code, body)
	}
}

func TestALostServerIsReplacedByItsName(t *testing.T) {
	a := founder(t)
	b := a.add(t, "second")
	a.add(t, "third")
	a.eventually(t, "three voters", voters(3))
	write(t, a, "x")

	// While it lives nobody can take its name.
	id, dir, err := a.join(t, "second", a.token(t, time.Hour).String())
	if err != nil {
		t.Fatal(err)
	}
	impostor := cluster.New(cluster.Config{Identity: id, Dir: dir, Settings: settings, Logger: logger()})
	conf, err := cluster.PeerTLS(filepath.Join(dir, cluster.PeerDir), id.ID, logger())
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{
		Dir: t.TempDir(), NodeID: id.ID, Address: "127.0.0.1:0", PeerTLS: conf, Asked: impostor.Answer, MinFreeBytes: 1 << 20, Logger: logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	impostor.Bind(st)
	if err := impostor.Join(t.Context()); err == nil || !strings.Contains(err.Error(), "it is alive") {
		t.Errorf("a second server of the name: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}

	address := b.store.Address()
	b.stop()
	id, dir, err = a.join(t, "second", a.token(t, time.Hour).String())
	if err != nil {
		t.Fatal(err)
	}
	again := start(t, id, dir, address)
	list := a.eventually(t, "three voters again", voters(3))
	for _, s := range list {
		if s.Name == "second" && s.ID != again.id.ID {
			t.Errorf("the old one is still there: %+v", s)
		}
	}
	o := write(t, again, "y")
	if o.Revision == 0 {
		t.Fatal("no revision")
	}
}

func TestRemovingMustLeaveAMajority(t *testing.T) {
	a := founder(t)
	b := a.add(t, "second")
	c := a.add(t, "third")
	a.eventually(t, "three voters", voters(3))
	c.stop()
	a.eventually(t, "third is gone", func(l []cluster.Server) bool {
		for _, s := range l {
			if s.Name == "third" {
				return !s.Healthy
			}
		}
		return false
	})
	code, body := a.call(t, http.MethodDelete, cluster.ServersPath+"/second", "")
	if code != http.StatusConflict || !strings.Contains(body, "no majority") {
		t.Fatalf("removing one of two that are left: %d %s", code, body)
	}
	if code, body := b.call(t, http.MethodDelete, cluster.ServersPath+"/third", ""); code != http.StatusOK {
		t.Fatalf("removing the lost one: %d %s", code, body)
	}
	write(t, b, "x")
}

// Only the cluster's own authority makes a server.
func TestStrangersAreNotHeard(t *testing.T) {
	a := founder(t)
	foreign, err := cluster.PeerTLS(filepath.Join(t.TempDir(), "peer"), a.id.ID, logger())
	if err != nil {
		t.Fatal(err)
	}
	own, err := cluster.PeerTLS(filepath.Join(a.dir, cluster.PeerDir), "somebody", logger())
	if err != nil {
		t.Fatal(err)
	}
	apiCA := &tls.Config{RootCAs: authority(t, a.dir).Pool(), ServerName: "kubernetes.default.svc", MinVersion: tls.VersionTLS13}
	for name, conf := range map[string]*tls.Config{
		"another authority": foreign, "no certificate": {RootCAs: own.RootCAs, ServerName: own.ServerName, MinVersion: tls.VersionTLS13}, "the API's authority": apiCA,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := tls.Dial("tcp", a.store.Address(), conf)
			if err != nil {
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = c.Write([]byte("M\x01x"))
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Fatal("a stranger was answered")
			}
		})
	}
}
