package backup_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/backup"
	"github.com/pintle-dev/pintle/test/process"
)

// What is encrypted at rest is so in backups, too, and who restores one needs the keys that it
// was encrypted with.
func TestEncryptedAtRestStaysSo(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys.yaml")
	if _, err := process.Run(t.Context(), nil, process.Pintle(), "encryption", "key", "--name", "one", keys); err != nil {
		t.Fatal(err)
	}
	sealed := bare + fmt.Sprintf("store: {encryption: {resources: [secrets], keys: {file: %s}}}\n", keys)
	s := process.Start(t, process.Pintle(), sealed)
	const word = "nobody-must-read-this"
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"word": word}}
	if _, err := client(t, s).CoreV1().Secrets("default").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, s).CoreV1().ConfigMaps("default").Create(t.Context(), numbered("open", 1), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	file := create(t, s, "-o", t.TempDir())
	s.End(syscall.SIGTERM)

	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := backup.Open(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	_, state, err := r.Content()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(state)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(content, []byte(`"name":"open"`)) {
		t.Error("what is not encrypted can't be found")
	}
	for _, plain := range []string{word, base64.StdEncoding.EncodeToString([]byte(word))} {
		if bytes.Contains(content, []byte(plain)) {
			t.Errorf("the backup has %s", plain)
		}
	}
	if out := mustCLI(t, "verify", file); !strings.Contains(out, "Everything matches") {
		t.Errorf("verify says\n%s", out)
	}

	next, _ := restore(t, s, sealed, file)
	next.Start()
	got, err := client(t, next).CoreV1().Secrets("default").Get(t.Context(), "s", metav1.GetOptions{})
	if err != nil || string(got.Data["word"]) != word {
		t.Errorf("restored with its keys: %v %v", got, err)
	}
	next.End(syscall.SIGTERM)
	without, _ := restore(t, s, bare, file)
	without.Launch()
	<-without.Ended()
	if !strings.Contains(without.Log(), "encrypted") {
		t.Errorf("restored without its keys, the server says\n%s", without.Log())
	}
}
