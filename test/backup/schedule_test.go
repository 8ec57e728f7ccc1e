package backup_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/test/process"
)

// What pintle backup does with a directory it does with a bucket, and a program that is killed
// while it writes to one leaves nothing that is listed.
func TestBucketByCommand(t *testing.T) {
	s3 := startS3(t)
	s := process.Start(t, process.Pintle(), bare)
	populate(t, s)
	want := everything(t, s)
	phrase := filepath.Join(t.TempDir(), "phrase")
	if err := os.WriteFile(phrase, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	place := "s3://" + bucket + "/clusters/one"
	file := create(t, s, "-o", place, "--passphrase-file", phrase)
	if !strings.HasPrefix(file, place+"/pintle-") {
		t.Fatalf("it is at %s", file)
	}
	named := create(t, s, "-o", place+"/named.backup")
	if named != place+"/named.backup" {
		t.Fatalf("it is at %s", named)
	}
	if _, err := cli(t, "create", "--data-dir", s.Data(), "-o", named); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("written over what was there: %v", err)
	}
	if out := mustCLI(t, "list", place); strings.Count(out, "\n") != 3 || !strings.Contains(out, "named.backup") {
		t.Errorf("listed\n%s", out)
	}
	if out := mustCLI(t, "verify", file, "--passphrase-file", phrase); !strings.Contains(out, "Everything matches") {
		t.Errorf("verify says\n%s", out)
	}
	if _, err := cli(t, "verify", place+"/missing.backup"); err == nil {
		t.Error("what is not there was verified")
	}

	// More than a part, so that something is sent before the end.
	c := client(t, s)
	for i := range 40 {
		m := numbered(fmt.Sprint("big-", i), i)
		m.Data["noise"] = base64.StdEncoding.EncodeToString(noise(600 << 10))
		if _, err := c.CoreV1().ConfigMaps("default").Create(t.Context(), m, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	killed := false
	for try := 0; try < 20 && !killed; try++ {
		cmd := exec.Command(process.Pintle(), "backup", "create", "--data-dir", s.Data(), "-o", "s3://"+bucket+"/killed")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		for running := true; running && !killed; {
			select {
			case <-ended:
				running = false
			default:
				killed = len(s3.uploads(t)) > 0
			}
		}
		_ = cmd.Process.Kill()
		<-ended
		if killed = killed && len(s3.uploads(t)) > 0; killed {
			break
		}
	}
	if !killed {
		t.Fatal("no upload was met on its way")
	}
	for _, line := range strings.Split(strings.TrimSpace(mustCLI(t, "list", "s3://"+bucket+"/killed")), "\n")[1:] {
		// Those that were quicker than the test.
		if out := mustCLI(t, "verify", "s3://"+bucket+"/killed/"+strings.Fields(line)[0]); !strings.Contains(out, "Everything matches") {
			t.Errorf("verify says\n%s", out)
		}
	}

	next, _ := restore(t, s, bare, file, "--passphrase-file", phrase)
	s.End(9)
	next.Start()
	same(t, everything(t, next), want)
}

// Backups are made by themselves, as many as wanted stay, and failures are seen.
func TestScheduledBackups(t *testing.T) {
	startS3(t)
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	recipient := strings.TrimSpace(mustCLI(t, "keygen", "-o", key))
	for _, place := range []string{filepath.Join(dir, "backups"), "s3://" + bucket + "/scheduled"} {
		t.Run(strings.ReplaceAll(place, "/", "_"), func(t *testing.T) {
			more := fmt.Sprintf("backup: {to: %q, every: 1s, keep: {last: 2, yearly: 1}, encryption: {recipients: [%s]}}\n", place, recipient)
			s := process.Start(t, process.Pintle(), bare+more)
			newest := func() string {
				lines := strings.Split(strings.TrimSpace(mustCLI(t, "list", "--config", filepath.Join(s.Dir, "c.yaml"))), "\n")
				if len(lines) > 4 {
					t.Errorf("%d backups are there: %q", len(lines)-1, lines)
				}
				return strings.Fields(lines[len(lines)-1])[0]
			}
			var first string
			eventually(t, "a backup was made", func() error {
				if first = newest(); first == "NAME" {
					return errors.New("none yet")
				}
				return nil
			})
			eventually(t, "four more were made", func() error {
				raw, err := client(t, s).CoreV1().RESTClient().Get().RequestURI("/metrics").DoRaw(t.Context())
				if err != nil {
					return err
				}
				for _, line := range strings.Split(string(raw), "\n") {
					var n float64
					if _, err := fmt.Sscanf(line, "pintle_backup_successes_total %g", &n); err == nil && n >= 5 {
						return nil
					}
				}
				return errors.New("not yet")
			})
			last := newest()
			if last == first {
				t.Error("the first one is still the newest")
			}
			out := mustCLI(t, "verify", strings.TrimSuffix(place, "/")+"/"+last, "--identity", key)
			if !strings.Contains(out, "Everything matches") || !strings.Contains(out, "pki/ca.key") {
				t.Errorf("verify says\n%s", out)
			}
		})
	}
	t.Run("failing", func(t *testing.T) {
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := process.Start(t, process.Pintle(), bare+fmt.Sprintf("backup: {to: %q, every: 1s}\n", filepath.Join(file, "below")))
		eventually(t, "the failure is told", func() error {
			events, err := client(t, s).CoreV1().Events("default").List(t.Context(), metav1.ListOptions{})
			if err != nil {
				return err
			}
			for _, e := range events.Items {
				if e.Type == "Warning" && e.Reason == "BackupFailed" && strings.Contains(e.Message, file) {
					return nil
				}
			}
			return fmt.Errorf("%d events", len(events.Items))
		})
	})
	t.Run("not possible", func(t *testing.T) {
		for _, more := range []string{"backup: {to: x, schedule: whenever}\n", "backup: {to: x, every: 1h, encryption: {recipients: [nobody]}}\n"} {
			s := process.New(t, process.Pintle(), bare+more)
			s.Launch()
			<-s.Ended()
			if !strings.Contains(s.Log(), "backup.") {
				t.Errorf("with %s the server says\n%s", more, s.Log())
			}
		}
	})
}
