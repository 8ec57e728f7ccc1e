package load

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/process"
)

// TestFullDisk fills the disk under a server: writes end with a clear error before it is full,
// reads go on, the alarm is shown, and everything goes on when there is room.
func TestFullDisk(t *testing.T) {
	s := process.New(t, process.Pintle(), "plugins: []\nstore: {minFree: 64Mi}\n")
	if err := os.MkdirAll(s.Data(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("load", s.Data(), "tmpfs", 0, "size=320m"); err != nil {
		t.Skipf("a small file system can't be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(s.Data(), syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s.Start()
	c := newClient(t, s, 1)
	create(t, c, 50)
	put := func() (int, string) {
		status, _, text := c.do(t, http.MethodPut, collection+"/"+objectName(1), object(1, int(time.Now().UnixNano())))
		return status, text
	}

	ballast := filepath.Join(s.Data(), "ballast")
	fill(t, ballast, s.Data(), 50<<20)
	process.Eventually(t, 20*time.Second, "writes are refused", func() error {
		if status, text := put(); status != http.StatusInsufficientStorage || !strings.Contains(text, "nearly full") {
			return fmt.Errorf("%d %s", status, text)
		}
		return nil
	})
	alarmed(t, c, s, true)
	// Deletions make room, and may use some of the reserve.
	if status, _, text := c.do(t, http.MethodDelete, collection+"/"+objectName(2), nil); status != http.StatusOK {
		t.Errorf("delete: %d %s", status, text)
	}

	fill(t, ballast, s.Data(), 0)
	process.Eventually(t, 20*time.Second, "deletions are refused too", func() error {
		// The server may not have looked yet. What it has agreed on then waits for room.
		const soon = "?timeout=2s"
		status, _, text := c.do(t, http.MethodDelete, collection+"/"+objectName(3)+soon, nil)
		if status == http.StatusOK {
			status, _, text = c.do(t, http.MethodPost, collection+soon, object(3, 1))
		}
		if status != http.StatusInsufficientStorage {
			return fmt.Errorf("%d %s", status, text)
		}
		return nil
	})
	alarmed(t, c, s, true)

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	process.Eventually(t, 20*time.Second, "writes go on", func() error {
		if status, text := put(); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, text)
		}
		return nil
	})
	alarmed(t, c, s, false)
	s.End(syscall.SIGTERM)
	s.Start()
	if status, text := put(); status != http.StatusOK {
		t.Errorf("after a restart: %d %s", status, text)
	}
}

// fill makes a file so large that the file system has so many bytes left.
func fill(t *testing.T, path, dir string, left uint64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	piece := make([]byte, 64<<10)
	for {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		free := st.Bavail * uint64(st.Bsize)
		if free <= left {
			return
		}
		_, err := f.Write(piece[:min(uint64(len(piece)), free-left)])
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// alarmed checks that all who should tell of a full disk do, and that reads go on.
func alarmed(t *testing.T, c *client, s *process.Server, want bool) {
	t.Helper()
	for _, path := range []string{collection + "/" + objectName(1), collection, "/readyz"} {
		if status, _, text := c.do(t, http.MethodGet, path, nil); status != http.StatusOK {
			t.Errorf("get %s: %d %s", path, status, text)
		}
	}
	var out []byte
	process.Eventually(t, 20*time.Second, fmt.Sprintf("the alarm is %t", want), func() (err error) {
		cmd := exec.CommandContext(t.Context(), process.Pintle(), "status",
			"--data-dir", s.Data(), "--config", filepath.Join(s.Dir, "c.yaml"), "--api.listen", s.Address)
		out, err = cmd.CombinedOutput()
		if raised := strings.Contains(string(out), "alarm NoSpace"); raised != want || (err != nil) != want {
			return fmt.Errorf("pintle status (%w):\n%s", err, out)
		}
		return nil
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.http[0].Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b := new(strings.Builder)
	if _, err := io.Copy(b, resp.Body); err != nil {
		t.Fatal(err)
	}
	value := 0
	if want {
		value = 1
	}
	if line := fmt.Sprintf(`pintle_store_alarm{alarm="NoSpace"} %d`, value); !strings.Contains(b.String(), line) {
		t.Errorf("metrics do not have %s", line)
	}
}
