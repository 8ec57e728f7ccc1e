package guests

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/test/process"
)

// TestMain lets the test binary play the guests, too.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "guest":
		playGuest(os.Args[2])
	case len(os.Args) == 2 && os.Args[1] == "bomb":
		bomb()
	default:
		os.Exit(process.Main(m, "../.."))
	}
}

var plugins = schema.GroupVersionResource{Group: "core.pintle.dev", Version: "v1", Resource: "plugins"}

// cluster is a server with a guest of each mode, all of them well-behaved at first.
type cluster struct {
	*process.Server
	config  *rest.Config
	client  kubernetes.Interface
	dynamic dynamic.Interface
	load    *load
}

// placeBinary copies the test binary to where users of their own can run it.
func placeBinary(t *testing.T, dir string) (path, sum string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	path = filepath.Join(dir, "guest")
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, hash), in)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
	return path, hex.EncodeToString(hash.Sum(nil))
}

func startCluster(t *testing.T, modes ...string) *cluster {
	t.Helper()
	s := process.New(t, process.Pintle(), "")
	path, sum := placeBinary(t, s.Dir)
	var entries []map[string]any
	for _, mode := range modes {
		entry := map[string]any{
			"name": mode, "path": path, "sha256": sum, "args": []string{"guest", mode},
			"env": map[string]string{"ADDRESSES": s.Address, "GOTRACEBACK": "single"},
		}
		if mode == "fork" {
			// Processes of a program with the race detector reach the limit of memory first.
			entry["limits"] = map[string]any{"memory": "4Gi", "processes": 64}
		}
		if mode == "spy" { // of what it must not have, one file is given to it
			given := filepath.Join(s.Dir, "given")
			if err := os.WriteFile(given, []byte("for you"), 0o600); err != nil {
				t.Fatal(err)
			}
			entry["files"] = []map[string]any{{"path": given}}
			entry["env"].(map[string]string)["GIVEN"] = given
		}
		if strings.HasPrefix(mode, "hoard") {
			entry["limits"] = map[string]any{"disk": "64Mi"}
		}
		entries = append(entries, entry)
	}
	more, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	s.Configure("plugins: " + string(more))
	s.Start()
	c := &cluster{Server: s, config: s.ClientConfig()}
	c.config.QPS = -1
	if c.client, err = kubernetes.NewForConfig(c.config); err == nil {
		c.dynamic, err = dynamic.NewForConfig(c.config)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.load = &load{client: c.client, acks: map[string]string{}}
	if _, err := c.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: loadNamespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.CoreV1().Secrets(metav1.NamespaceDefault).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "treasure"}, StringData: map[string]string{"gold": "doubloons"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, mode := range modes {
		c.awaitHealth(t, mode, "Healthy")
	}
	return c
}

// state is what a plugin's object says.
type state struct {
	health, reason string
	pid, restarts  int64
}

func (c *cluster) state(ctx context.Context, name string) (state, error) {
	var s state
	u, err := c.dynamic.Resource(plugins).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return s, err
	}
	s.health, _, _ = unstructured.NestedString(u.Object, "status", "health")
	s.reason, _, _ = unstructured.NestedString(u.Object, "status", "reason")
	s.pid, _, _ = unstructured.NestedInt64(u.Object, "status", "pid")
	s.restarts, _, _ = unstructured.NestedInt64(u.Object, "status", "restarts")
	return s, nil
}

// awaitHealth waits until a plugin's object says so.
func (c *cluster) awaitHealth(t *testing.T, name, health string) {
	t.Helper()
	process.Eventually(t, time.Minute, name+" is "+health, func() error {
		s, err := c.state(t.Context(), name)
		if err == nil && s.health != health {
			err = fmt.Errorf("it is %s: %s", s.health, s.reason)
		}
		return err
	})
}

// private is a plugin's directory.
func (c *cluster) private(name string) string {
	return filepath.Join(c.Data(), "hosts", "server", "plugins", name)
}

// become makes a guest hostile, or no longer: it is killed, until it has come back as the other.
func (c *cluster) become(t *testing.T, m *misdeed, hostile bool) {
	t.Helper()
	private := c.private(m.mode)
	err := os.Remove(filepath.Join(private, lifeFile))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if hostile {
		err = errors.Join(err, os.WriteFile(filepath.Join(private, hostileFile), nil, 0o644))
	} else {
		err = errors.Join(err, os.Remove(filepath.Join(private, hostileFile)), os.RemoveAll(filepath.Join(private, hoardDir)))
	}
	if err != nil {
		t.Fatal(err)
	}
	var asked time.Time
	process.Eventually(t, time.Minute, m.mode+" has started again", func() error {
		s, err := c.state(t.Context(), m.mode)
		if err != nil {
			return err
		}
		life, _ := os.ReadFile(filepath.Join(private, lifeFile))
		is := string(life) == strconv.FormatBool(hostile)
		switch {
		case is && (hostile || s.health == "Healthy"):
			return nil
		case !is && s.pid > 0:
			_ = syscall.Kill(int(s.pid), syscall.SIGKILL) // it may have ended
		case (s.health == "BackOff" || s.health == "Refused") && time.Since(asked) > time.Second:
			asked = time.Now()
			c.restart(t, m.mode)
		}
		return fmt.Errorf("it is %s: %s", s.health, s.reason)
	})
}

func (c *cluster) restart(t *testing.T, name string) {
	t.Helper()
	patch := fmt.Sprintf(`{"spec":{"restartedAt":%q}}`, time.Now().UTC().Format(time.RFC3339Nano))
	if _, err := c.dynamic.Resource(plugins).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// try creates an object of a guest's type, and says what came of it.
func (c *cluster) try(ctx context.Context, mode string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	trials := schema.GroupVersionResource{Group: groupOf(mode), Version: "v1", Resource: "trials"}
	_, err := c.dynamic.Resource(trials).Namespace(metav1.NamespaceDefault).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": groupOf(mode) + "/v1", "kind": "Trial", "metadata": map[string]any{"generateName": "t-"},
	}}, metav1.CreateOptions{})
	return err
}

// info is what an operator reads.
func (c *cluster) info(t *testing.T, name string) string {
	t.Helper()
	out, err := process.Run(t.Context(), nil, process.Pintle(), "plugin", "info", name, "--data-dir", c.Data())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// event returns the text of an event of a plugin that says something, or an error.
func (c *cluster) event(ctx context.Context, name, reason, says string) (string, error) {
	list, err := c.client.CoreV1().Events(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	var seen []string
	for i := range list.Items {
		e := &list.Items[i]
		if e.InvolvedObject.Kind != "Plugin" || e.InvolvedObject.Name != name {
			continue
		}
		if e.Reason == reason && strings.Contains(e.Message, says) {
			return e.Message, nil
		}
		seen = append(seen, e.Reason+": "+e.Message)
	}
	return "", fmt.Errorf("no event %s, only\n%s", reason, strings.Join(seen, "\n"))
}

// found is what a guest has reported.
func (c *cluster) found(t *testing.T, name string) map[string]string {
	t.Helper()
	var out map[string]string
	process.Eventually(t, 30*time.Second, "report of "+name, func() error {
		b, err := os.ReadFile(filepath.Join(c.private(name), "report"))
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &out)
	})
	return out
}
