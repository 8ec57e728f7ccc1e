package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/test/process"
)

// member is one server of a cluster.
type member struct {
	*process.Server
	name string
	peer string
}

func (m *member) configure(join string) {
	m.Configure(fmt.Sprintf("name: %s\nplugins: []\ncluster: {listen: %q%s}\n", m.name, m.peer, join))
}

func (m *member) client(t *testing.T) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(m.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pintle runs a command against the server.
func (m *member) pintle(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return process.Run(t.Context(), nil, process.Pintle(), append(args, "--data-dir", m.Data())...)
}

func (m *member) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.pintle(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// newMember prepares a server that joins by another one, or founds a cluster.
func newMember(t *testing.T, name string, by *member) *member {
	t.Helper()
	m := &member{Server: process.New(t, process.Pintle(), ""), name: name, peer: process.FreeAddress(t)}
	m.joinBy(t, by)
	return m
}

func (m *member) joinBy(t *testing.T, by *member) {
	t.Helper()
	join := ""
	if by != nil {
		token := filepath.Join(m.Dir, "token")
		if err := os.WriteFile(token, []byte(by.must(t, "server", "token")), 0o600); err != nil {
			t.Fatal(err)
		}
		join = fmt.Sprintf(", join: %q, tokenFile: %q", "https://"+by.Address, token)
	}
	m.configure(join)
}

// three servers of one cluster, all with a vote.
func three(t *testing.T) []*member {
	t.Helper()
	a := newMember(t, "server-a", nil)
	a.Start()
	out := []*member{a}
	for _, name := range []string{"server-b", "server-c"} {
		m := newMember(t, name, out[len(out)-1])
		m.Start()
		out = append(out, m)
	}
	voters(t, a, 3)
	return out
}

type serverList struct {
	Servers []struct {
		Name, Role, Reason string
		Healthy            bool
	} `json:"servers"`
}

func list(t *testing.T, by *member) (serverList, error) {
	t.Helper()
	out, err := by.pintle(t, "server", "list", "-o", "json")
	var l serverList
	if err == nil {
		err = json.Unmarshal([]byte(out), &l)
	}
	return l, err
}

// voters waits until there are so many healthy servers with a vote, and no others.
func voters(t *testing.T, by *member, n int) {
	t.Helper()
	process.Eventually(t, 30*time.Second, fmt.Sprint(n, " voters"), func() error {
		l, err := list(t, by)
		if err != nil {
			return err
		}
		have := 0
		for _, s := range l.Servers {
			if s.Role != "learner" && s.Healthy {
				have++
			}
		}
		if have != n || len(l.Servers) != n {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
}

func leader(t *testing.T, all []*member, by *member) *member {
	t.Helper()
	var found *member
	process.Eventually(t, 20*time.Second, "a leader", func() error {
		l, err := list(t, by)
		if err != nil {
			return err
		}
		for _, s := range l.Servers {
			for _, m := range all {
				if s.Role == "leader" && s.Name == m.name {
					found = m
					return nil
				}
			}
		}
		return fmt.Errorf("%+v", l)
	})
	return found
}

func others(all []*member, without *member) []*member {
	var out []*member
	for _, m := range all {
		if m != without {
			out = append(out, m)
		}
	}
	return out
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"a": "b"}}
}

// create creates through a server and repeats what may be repeated.
func create(ctx context.Context, c kubernetes.Interface, name string) error {
	for {
		_, err := c.CoreV1().ConfigMaps("default").Create(ctx, configMap(name), metav1.CreateOptions{})
		switch {
		case err == nil || apierrors.IsAlreadyExists(err):
			return nil
		case ctx.Err() != nil, !apierrors.IsTimeout(err) && !apierrors.IsServerTimeout(err) && !apierrors.IsServiceUnavailable(err):
			return err
		}
	}
}

func TestClientsUseAnyServer(t *testing.T) {
	all := three(t)
	for i, m := range all {
		c := m.client(t)
		name := fmt.Sprint("by-", m.name)
		created, err := c.CoreV1().ConfigMaps("default").Create(t.Context(), configMap(name), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// Everybody reads at once what anybody has acknowledged, and may change it.
		o := all[(i+1)%3].client(t).CoreV1().ConfigMaps("default")
		got, err := o.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || got.ResourceVersion != created.ResourceVersion {
			t.Fatalf("%s through the next server: %v, %v", name, got, err)
		}
		got.Data["a"] = "c"
		changed, err := o.Update(t.Context(), got, metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.CoreV1().ConfigMaps("default").Update(t.Context(), created, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			t.Fatalf("an update of what is old: %v", err)
		}
		// A namespace is there for all as soon as it is there.
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "of-" + m.name}}
		if _, err := c.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := all[(i+2)%3].client(t).CoreV1().ConfigMaps(ns.Name).Create(t.Context(), configMap("x"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		// A watch may begin where its server has not arrived yet.
		w, err := all[(i+2)%3].client(t).CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{ResourceVersion: created.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		ev := <-w.ResultChan()
		w.Stop()
		if cm, ok := ev.Object.(*corev1.ConfigMap); !ok || cm.ResourceVersion != changed.ResourceVersion {
			t.Fatalf("the first event is %+v", ev)
		}
	}
}

func TestWritesGoOnWhenServersEnd(t *testing.T) {
	all := three(t)
	n := 0
	for _, how := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		lead := leader(t, all, all[0])
		rest := others(all, lead)
		if how == syscall.SIGTERM {
			go lead.Signal(how)
		} else {
			lead.End(how)
		}
		begin := time.Now()
		for i := range 40 {
			n++
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			if err := create(ctx, rest[i%2].client(t), fmt.Sprint("n-", n)); err != nil {
				t.Fatalf("%v: %v", how, err)
			}
			cancel()
		}
		t.Logf("signal %v: 40 writes took %v", how, time.Since(begin))
		lead.End(how)
		lead.Start()
		voters(t, rest[0], 3)
	}
	for _, m := range all {
		l, err := m.client(t).CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{LabelSelector: ""})
		if err != nil {
			t.Fatal(err)
		}
		have := 0
		for _, cm := range l.Items {
			if strings.HasPrefix(cm.Name, "n-") {
				have++
			}
		}
		if have != n {
			t.Errorf("%s has %d of %d objects", m.name, have, n)
		}
	}
}

// A watch that loses its server goes on at another one where it was.
func TestAWatchGoesOnElsewhere(t *testing.T) {
	all := three(t)
	lead := leader(t, all, all[0])
	rest := others(all, lead)
	c := rest[1].client(t)
	first, err := c.CoreV1().ConfigMaps("default").Create(t.Context(), configMap("w-0"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen, version := 0, first.ResourceVersion
	read := func(m *member, until int) {
		t.Helper()
		w, err := m.client(t).CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{ResourceVersion: version})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		for seen < until {
			ev, ok := <-w.ResultChan()
			cm, isMap := ev.Object.(*corev1.ConfigMap)
			if !ok || !isMap {
				t.Fatalf("after %d events: %+v", seen, ev)
			}
			seen++
			if want := fmt.Sprint("w-", seen); cm.Name != want {
				t.Fatalf("event %d is of %s", seen, cm.Name)
			}
			version = cm.ResourceVersion
		}
	}
	for i := range 10 {
		if err := create(t.Context(), c, fmt.Sprint("w-", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	read(lead, 5)
	lead.End(syscall.SIGKILL)
	for i := range 10 {
		if err := create(t.Context(), c, fmt.Sprint("w-", i+11)); err != nil {
			t.Fatal(err)
		}
	}
	read(rest[0], 15)
	read(rest[1], 20)
}

func TestServersAreReplacedAndRemoved(t *testing.T) {
	all := three(t)
	lead := leader(t, all, all[0])
	lost, other := others(all, lead)[0], others(all, lead)[1]
	lost.End(syscall.SIGKILL)
	if err := os.RemoveAll(lost.Data()); err != nil {
		t.Fatal(err)
	}
	lost.joinBy(t, other)
	lost.Start()
	voters(t, other, 3)

	other.must(t, "server", "transfer", lost.name)
	if now := leader(t, all, other); now != lost {
		t.Fatalf("%s leads", now.name)
	}
	if _, err := other.pintle(t, "server", "transfer", "nobody"); err == nil || !strings.Contains(err.Error(), `there is no server "nobody"`) {
		t.Fatalf("transfer to nobody: %v", err)
	}
	if out := other.must(t, "server", "remove", lead.name); !strings.Contains(out, "warning: 2 servers") {
		t.Fatalf("remove: %s", out)
	}
	process.Eventually(t, 20*time.Second, "the removed server says so", func() error {
		_, err := lead.client(t).CoreV1().ConfigMaps("default").Create(t.Context(), configMap("too-late"), metav1.CreateOptions{})
		if err == nil {
			t.Fatal("a removed server took a write")
		}
		if !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "removed from the cluster") {
			return err
		}
		return nil
	})
	raw, err := lead.client(t).Discovery().RESTClient().Get().AbsPath("/readyz/leader").DoRaw(t.Context())
	if err == nil {
		t.Fatalf("a removed server is ready: %s", raw)
	}
	voters(t, lost, 2)
}
