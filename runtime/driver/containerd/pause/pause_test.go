package pause

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestMain is the process itself where a test says so.
func TestMain(m *testing.M) {
	if os.Getenv("PAUSE") != "" {
		run(func() { os.Stdout.WriteString("ready") })
		os.Exit(7) // only run's own return comes here
	}
	os.Exit(m.Run())
}

func TestEndsWhenTold(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PAUSE=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
	defer kill.Stop()
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	for _, s := range []syscall.Signal{syscall.SIGCHLD, syscall.SIGTERM} {
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatalf("%v: %v", s, err)
		}
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
}
