package host

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

func TestTraced(t *testing.T) {
	if traced(0) || traced(os.Getpid()) {
		t.Error("nobody traces this process")
	}
	// The thread that starts a traced process is its tracer.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/bin/sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Skipf("this machine does not allow tracing: %v", err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if !traced(cmd.Process.Pid) {
		t.Error("a process that this user traces is not known as such")
	}
}
