package encryption

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/test/process"
)

// TestNothingStandsReadableInTheDataDirectory: whatever is done with a secret and to its server.
func TestNothingStandsReadableInTheDataDirectory(t *testing.T) {
	audit := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(audit, []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := process.New(t, process.Pintle(), "")
	s.Configure(fmt.Sprintf(configuration, "secrets", keyFile(t, "k1")) +
		fmt.Sprintf("api: {audit: {policyFile: %s, log: {path: %s}}}\n", audit, filepath.Join(s.Data(), "audit.log")))
	s.Start()
	ctx := context.Background()
	hidden, shown := marker(t), marker(t)
	c := client(t, s)
	secrets := c.CoreV1().Secrets("default")
	if _, err := c.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "shown"}, Data: map[string]string{"value": shown},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	search := func(when string) {
		t.Helper()
		if files := filesWith(t, s, hidden); len(files) > 0 {
			t.Errorf("%s: it stands readable in %v", when, files)
		}
		if len(filesWith(t, s, shown)) == 0 {
			t.Errorf("%s: the search finds nothing at all", when)
		}
	}
	// More than a memtable and a snapshot's worth, so that tables are written and merged.
	for i := range 300 {
		createSecret(t, c, fmt.Sprintf("s-%d", i), hidden+strings.Repeat("x", 8000))
	}
	for i := range 40 {
		patch, err := json.Marshal(map[string]any{"stringData": map[string]string{"more": hidden + fmt.Sprint(i)}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := secrets.Patch(ctx, "s-1", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := secrets.Delete(ctx, fmt.Sprintf("s-%d", 100+i), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	createSecret(t, c, "big", hidden+strings.Repeat("y", 300_000)) // goes to the value log
	search("while it runs")
	s.End(syscall.SIGKILL)
	search("killed")
	s.Start()
	c = client(t, s)
	wantSecret(t, c, "s-2", hidden+strings.Repeat("x", 8000))
	createSecret(t, c, "after", hidden)
	search("started again")
	s.End(syscall.SIGTERM)
	search("stopped")
	s.Start()
	c = client(t, s)
	wantSecret(t, c, "after", hidden)
	wantSecret(t, c, "big", hidden+strings.Repeat("y", 300_000))
	list, err := c.CoreV1().Secrets("default").List(ctx, metav1.ListOptions{LabelSelector: "none=1"})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("list: %d, %v", len(list.Items), err)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	if _, err := pintle(t, "backup", "create", "-o", backup, "--data-dir", s.Data()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(backup, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("backups: %v, %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), hidden) || len(raw) < 300*8000 {
		t.Errorf("a backup of %d bytes has it readable, or is too small to have it", len(raw))
	}
}

func TestSwitchingOnOffAndChangingKeysWhileClientsWrite(t *testing.T) {
	s := process.Start(t, process.Pintle(), "plugins: []\n")
	c := client(t, s)
	const n = 60
	for i := range n {
		createSecret(t, c, fmt.Sprintf("s-%d", i), "hidden")
	}
	if _, err := pintle(t, "encryption", "status", "--data-dir", s.Data()); err == nil || !strings.Contains(err.Error(), "encryption at rest is not configured") {
		t.Errorf("status without encryption: %v", err)
	}
	file := keyFile(t, "k1")
	s.End(syscall.SIGTERM)
	s.Configure(fmt.Sprintf(configuration, "secrets", file))
	s.Start()
	all := func(st status) bool {
		last := len(st.DataKeys) - 1
		return st.Pending == 0 && len(st.Resources) == 1 && st.Resources[0].Plain == 0 && last >= 0 && st.DataKeys[last].Objects == n
	}
	settled(t, s, "what was there is encrypted", all)

	// Changes of keys go on under reads and writes.
	c = client(t, s)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := fmt.Sprintf("s-%d", i%n)
			if _, err := c.CoreV1().Secrets("default").Patch(context.Background(), name, types.MergePatchType,
				[]byte(fmt.Sprintf(`{"stringData":{"n":"%d"}}`, i)), metav1.PatchOptions{}); err != nil {
				t.Errorf("write while keys change: %v", err)
				return
			}
		}
	}()
	if out, err := pintle(t, "encryption", "rotate", "--data-dir", s.Data()); err != nil || !strings.Contains(out, "encrypts") {
		t.Errorf("rotate: %s, %v", out, err)
	}
	settled(t, s, "everything is encrypted with the second data key", func(st status) bool {
		return all(st) && st.DataKeys[len(st.DataKeys)-1].ID == 2
	})
	if _, err := pintle(t, "encryption", "key", "--name", "k2", file); err != nil {
		t.Fatal(err)
	}
	settled(t, s, "everything is encrypted with a third data key, wrapped by the new key", func(st status) bool {
		last := len(st.DataKeys) - 1
		return all(st) && st.KeyID == "k2" && st.DataKeys[last].ID == 3 && st.DataKeys[last].KeyID == "k2"
	})
	close(stop)
	<-stopped
	wantSecret(t, c, "s-7", "hidden")

	s.End(syscall.SIGTERM)
	s.Configure(fmt.Sprintf(configuration, "", file))
	s.Start()
	settled(t, s, "everything is decrypted", func(st status) bool { return st.Pending == 0 && len(st.Resources) == 0 })
	s.End(syscall.SIGTERM)
	s.Configure("plugins: []\n")
	s.Start()
	wantSecret(t, client(t, s), "s-7", "hidden")
}

func TestAServerWithoutItsKeysSaysWhatIsMissing(t *testing.T) {
	file := keyFile(t, "k1")
	s := process.Start(t, process.Pintle(), fmt.Sprintf(configuration, "secrets", file))
	createSecret(t, client(t, s), "s", "hidden")
	s.End(syscall.SIGTERM)
	other, open := keyFile(t, "k2"), keyFile(t, "k1")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ configuration, want string }{
		"another key":   {fmt.Sprintf(configuration, "secrets", other), `key "k1" is not in ` + other},
		"no file":       {fmt.Sprintf(configuration, "secrets", "/none/keys.yaml"), "/none/keys.yaml: no such file"},
		"readable":      {fmt.Sprintf(configuration, "secrets", open), "chmod 600 " + open},
		"not mentioned": {"plugins: []\n", "configure the keys that the state was written with (store.encryption.keys)"},
	} {
		s.Configure(c.configuration)
		s.Launch()
		<-s.Ended()
		if !strings.Contains(s.Log(), c.want) {
			t.Errorf("%s: the log does not say %q:\n%s", name, c.want, s.Log())
		}
	}
	s.Configure(fmt.Sprintf(configuration, "secrets", file))
	s.Start()
	wantSecret(t, client(t, s), "s", "hidden")

	// A key that is lost for good: what it has encrypted can be given up.
	s.End(syscall.SIGTERM)
	s.Configure(strings.Replace(fmt.Sprintf(configuration, "secrets", other), "keys: {", "keys: {allowMissing: true, ", 1))
	s.Start()
	c := client(t, s)
	secrets := c.CoreV1().Secrets("default")
	for what, err := range map[string]error{
		"get":    errorOf(secrets.Get(t.Context(), "s", metav1.GetOptions{})),
		"list":   errorOf(secrets.List(t.Context(), metav1.ListOptions{})),
		"delete": secrets.Delete(t.Context(), "s", metav1.DeleteOptions{}),
	} {
		if !apierrors.IsStoreReadError(err) || !strings.Contains(err.Error(), "secrets/default/s") || !strings.Contains(err.Error(), `key "k1" is not in`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	createSecret(t, c, "new", "hidden")
	if err := secrets.Delete(t.Context(), "s", metav1.DeleteOptions{IgnoreStoreReadErrorWithClusterBreakingPotential: new(true)}); err != nil {
		t.Fatal(err)
	}
	if list, err := secrets.List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 1 {
		t.Errorf("what is left: %v", err)
	}
	wantSecret(t, c, "new", "hidden")
}

func errorOf[T any](_ T, err error) error { return err }
