package encryption

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m, "../..")) }

func client(t *testing.T, s *process.Server) kubernetes.Interface {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	c.QPS = -1
	k, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// pintle runs the program against a server's data directory.
func pintle(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return process.Run(t.Context(), nil, process.Pintle(), args...)
}

// keyFile makes a file of keys.
func keyFile(t *testing.T, names ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	for _, name := range names {
		if _, err := pintle(t, "encryption", "key", "--name", name, file); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

const configuration = "plugins: []\nstore: {encryption: {resources: [%s], keys: {file: %s}}}\n"

// status is what pintle encryption status says.
type status struct {
	KeyID, Problem string
	Pending        int
	DataKeys       []struct {
		ID      int
		Objects int
		KeyID   string
		Current bool
	}
	Resources []struct {
		Name             string
		Encrypted, Plain int
	}
}

func statusOf(t *testing.T, s *process.Server) (st status, err error) {
	t.Helper()
	out, err := pintle(t, "encryption", "status", "-o", "json", "--data-dir", s.Data())
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal([]byte(out), &st)
}

// settled waits until the status is good.
func settled(t *testing.T, s *process.Server, what string, good func(status) bool) {
	t.Helper()
	process.Eventually(t, 30*time.Second, what, func() error {
		st, err := statusOf(t, s)
		if err == nil && !good(st) {
			err = fmt.Errorf("it is %+v", st)
		}
		return err
	})
}

// marker is text that nothing compresses, so that a search finds it wherever it stands open.
func marker(t *testing.T) string {
	t.Helper()
	b := make([]byte, 24)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// filesWith lists the files of a server's data directory that have text in them, as it is or in
// base64 as a Secret has it.
func filesWith(t *testing.T, s *process.Server, text string) []string {
	t.Helper()
	coded := base64.StdEncoding.EncodeToString([]byte(text))
	var found []string
	err := filepath.WalkDir(s.Data(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil // Files come and go while the server runs.
		}
		if bytes.Contains(b, []byte(text)) || bytes.Contains(b, []byte(coded)) {
			found = append(found, strings.TrimPrefix(path, s.Data()))
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return found
}

func createSecret(t *testing.T, c kubernetes.Interface, name, value string) {
	t.Helper()
	_, err := c.CoreV1().Secrets("default").Create(context.Background(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"value": []byte(value)},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func wantSecret(t *testing.T, c kubernetes.Interface, name, value string) {
	t.Helper()
	o, err := c.CoreV1().Secrets("default").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil || string(o.Data["value"]) != value {
		t.Errorf("secret %s: %q, %v, want %q", name, o.Data["value"], err, value)
	}
}
