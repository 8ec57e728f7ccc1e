package backup_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/backup"
	"github.com/pintle-dev/pintle/test/process"
)

// A restored cluster grows to three servers, of which every one answers backups with all that
// was acknowledged, and of which the leader makes the scheduled ones, whoever that is.
func TestRestoredClusterGrows(t *testing.T) {
	old := process.Start(t, process.Pintle(), bare)
	populate(t, old)
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	recipient := strings.TrimSpace(mustCLI(t, "keygen", "-o", key))
	want := everything(t, old)
	file := create(t, old, "-o", dir, "--recipient", recipient)
	old.End(syscall.SIGKILL)

	place := filepath.Join(dir, "scheduled")
	member := func(name string) string {
		return fmt.Sprintf("%sname: %s\nbackup: {to: %q, every: 1s, encryption: {recipients: [%s]}}\n", bare, name, place, recipient)
	}
	first, _ := restore(t, old, member("a")+fmt.Sprintf("cluster: {listen: %q}\n", process.FreeAddress(t)), file, "--identity", key)
	first.Start()
	token, err := process.Run(t.Context(), nil, process.Pintle(), "server", "token", "--data-dir", first.Data())
	if err != nil {
		t.Fatal(err)
	}
	servers := []*process.Server{first}
	for _, name := range []string{"b", "c"} {
		s := process.Start(t, process.Pintle(), member(name)+fmt.Sprintf("cluster: {listen: %q, join: %q, token: %q}\n",
			process.FreeAddress(t), "https://"+first.Address, strings.TrimSpace(token)))
		servers = append(servers, s)
	}
	eventually(t, "all have a vote", func() error {
		out, err := process.Run(t.Context(), nil, process.Pintle(), "server", "list", "--data-dir", first.Data())
		if err != nil || strings.Count(out, "voter") != 2 || strings.Contains(out, "learner") {
			return fmt.Errorf("%w\n%s", errors.Join(errors.New("not yet"), err), out)
		}
		return nil
	})
	for i, s := range servers {
		got := everything(t, s)
		for what, was := range want {
			if got[what] != was {
				t.Errorf("server %d has %s as\n%s\nand it was\n%s", i, what, got[what], was)
			}
		}
		// What was written elsewhere a moment ago is in a backup of any server.
		name := fmt.Sprint("before-", i)
		if _, err := client(t, servers[(i+1)%3]).CoreV1().ConfigMaps("team-0").Create(t.Context(), numbered(name, i), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		made := create(t, s, "-o", filepath.Join(dir, name))
		next, _ := restore(t, nil, bare, made)
		next.Start()
		if _, err := client(t, next).CoreV1().ConfigMaps("team-0").Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
		next.End(syscall.SIGKILL)
	}

	newest := func() string {
		found := backups(t, place)
		if len(found) == 0 {
			return ""
		}
		return found[len(found)-1]
	}
	leader := func() *process.Server {
		var lead *process.Server
		eventually(t, "somebody leads", func() error {
			for i, s := range servers {
				out, err := process.Run(t.Context(), nil, process.Pintle(), "server", "list", "--data-dir", s.Data())
				if err != nil {
					continue
				}
				for _, line := range strings.Split(out, "\n") {
					if f := strings.Fields(line); len(f) > 0 && strings.Contains(line, "leader") {
						lead = servers[strings.Index("abc", f[0])]
						return nil
					}
				}
				return fmt.Errorf("server %d says\n%s", i, out)
			}
			return errors.New("nobody answers")
		})
		return lead
	}
	before := newest()
	lead := leader()
	if made := strings.Count(lead.Log(), "Made a backup"); made == 0 {
		t.Errorf("the leader has made no backup")
	}
	lead.End(syscall.SIGKILL)
	eventually(t, "another leader makes backups", func() error {
		if n := newest(); n <= before {
			return fmt.Errorf("the newest is %s", n)
		}
		for _, s := range servers {
			if s != lead && strings.Contains(s.Log(), "Made a backup") {
				return nil
			}
		}
		return errors.New("only the old one has")
	})
	if out := mustCLI(t, "verify", newest(), "--identity", key); !strings.Contains(out, "Everything matches") {
		t.Errorf("verify says\n%s", out)
	}
	if _, ok := backup.ParseName(filepath.Base(newest())); !ok {
		t.Errorf("%s is no name of a backup", newest())
	}
}
