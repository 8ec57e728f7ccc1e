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
		Main()
		os.Exit(7) // only Main's own return comes here
	}
	os.Exit(m.Run())
}

func TestEndsWhenTold(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PAUSE=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
	defer kill.Stop()
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	// Children's ends are harmless at any time. Waiting for a handler that the process
	// installs by itself needs a look from outside.
	for !handles(t, cmd.Process.Pid, syscall.SIGTERM) {
		select {
		case <-done:
			t.Fatalf("it ended by itself: %v", cmd.ProcessState)
		case <-time.After(time.Millisecond):
		}
	}
	cmd.Process.Signal(syscall.SIGCHLD)
	cmd.Process.Signal(syscall.SIGTERM)
	<-done
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
}
